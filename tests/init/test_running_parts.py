"""The small pure parts of the running half: seeds, buttons, unmounting, scripts, sysctls, cgroups, notifications."""

from __future__ import annotations

import os
import shlex
import struct
import subprocess
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from init.formats import screen, wayin
from init.formats.machine import Command, Machine, Swap, User
from init.formats.release import Release
from init.formats.service import Limits, Service
from init.pid1 import apply, buttons, cgroups, console, leave, scripts, seeddisk, sshd, written
from init.pid1.perform import read_notification
from init.pid1.report import Reporter


def test_seed_labels():
    fat = bytearray(33 * 1024)
    fat[510:512] = b"\x55\xaa"
    assert seeddisk.label_kind(bytes(fat)) is None
    fat[43:54] = b"CIDATA     "
    assert seeddisk.label_kind(bytes(fat)) == "vfat"
    iso = bytearray(33 * 1024 + 100)
    iso[32769:32774] = b"CD001"
    iso[32808:32840] = b"cidata".ljust(32)
    assert seeddisk.label_kind(bytes(iso)) == "iso9660"
    assert seeddisk.label_kind(b"") is None


def test_the_power_key():
    assert buttons.has_power_key("10000000000000 0")
    assert not buttons.has_power_key("1")
    assert not buttons.has_power_key("zz zz")
    press = struct.pack("<qqHHi", 0, 0, 1, 116, 1)
    release = struct.pack("<qqHHi", 0, 0, 1, 116, 0)
    other = struct.pack("<qqHHi", 0, 0, 1, 30, 1)
    assert buttons.pressed(other + press)
    assert not buttons.pressed(release + other + press[:10])


def test_what_is_unmounted_in_which_order():
    mounted = (
        "/dev/dm-0 / erofs ro 0 0\nproc /proc proc rw 0 0\n/dev/vda9 /run/berth/state ext4 rw 0 0\n"
        "/dev/vda9 /var ext4 rw 0 0\n/dev/vdb /mnt/data\\040x xfs rw 0 0\noverlay /var/lib/x/merged overlay rw 0 0\n"
        "tmpfs /run tmpfs rw 0 0\nbroken\n"
    )
    order = ("/var", "/run/berth/state")
    assert leave.targets(mounted, order) == ("/var/lib/x/merged", "/mnt/data x", "/var", "/run/berth/state")


@given(
    st.lists(
        st.text(st.characters(exclude_characters="\x00", exclude_categories=("Cs",)), max_size=12),
        min_size=1,
        max_size=4,
    )
)
def test_words_are_quoted_for_the_shell(words):
    quoted = " ".join(scripts.quote(word) for word in words)
    assert shlex.split(quoted) == words


def test_a_script_goes_on_after_a_failure():
    text = scripts.script(
        (Command(argv=("false",)), Command(argv=("echo $((1+1))",), shell=True), Command(argv=("echo", "a b")))
    )
    done = subprocess.run(["/bin/sh", "-c", text], capture_output=True, check=True)
    assert done.stdout == b"2\na b\n"


def test_a_swap_file_has_its_name_only_when_it_is_whole(tmp_path):
    """`mkswap` fails here the first time, as if the power had gone."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "mkswap").write_text(f"#!/bin/sh\ntest -e {tmp_path}/power && echo sign >> {tmp_path}/calls\n")
    (tools / "mkswap").chmod(0o755)
    [[shell, flag, make]] = scripts.swap(Swap(filename=f"{tmp_path}/a swap", size=2 << 20)).prepare
    environment = {"PATH": f"{tools}:{os.environ['PATH']}"}

    def run():
        return subprocess.run([shell, flag, make], env=environment, capture_output=True, check=False).returncode

    assert run() != 0
    assert not (tmp_path / "a swap").exists()
    (tmp_path / "power").touch()
    assert [run(), run()] == [0, 0]
    assert (tmp_path / "a swap").stat().st_size == 2 << 20
    assert (tmp_path / "calls").read_text() == "sign\n", "one that is there is left alone"


def test_markers_stay_in_their_folder():
    assert scripts.instance_marker("../../etc/passwd", "runcmd").startswith(f"{scripts.INSTANCES}/_.._etc")
    assert scripts.instance_marker("", "runcmd") == f"{scripts.INSTANCES}/_.runcmd"


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("vm.swappiness", "/proc/sys/vm/swappiness"),
        ("net/ipv4/conf/eth0.100/forwarding", "/proc/sys/net/ipv4/conf/eth0.100/forwarding"),
        ("net.ipv4.conf.eth0/100.forwarding", "/proc/sys/net/ipv4/conf/eth0.100/forwarding"),
    ],
)
def test_sysctl_paths(key, path):
    assert apply.sysctl_path(key) == path


@pytest.mark.parametrize("key", ["../../etc/passwd", "vm..x", "", "/etc/passwd"])
def test_a_sysctl_leads_nowhere_else(key):
    with pytest.raises(ValueError, match="no sysctl"):
        apply.sysctl_path(key)


def test_names_and_numbers_of_owners():
    table = "root:x:0:0::/:/bin/sh\nberth:x:1000:1000::/:/bin/sh\nbroken\n"
    assert written.named_id(table, "berth") == 1000
    assert written.named_id(table, "33") == 33
    with pytest.raises(ValueError, match="there is no"):
        written.named_id(table, "nobody")


def test_limits_and_places():
    service = Service(name="web", argv=("/web",), limits=Limits(memory=1 << 20, cpus=0.5, pids=9))
    assert cgroups.home(service) == "/sys/fs/cgroup/berth/web"
    assert cgroups.home(Service(name="web", argv=(), delegate=True)) == "/sys/fs/cgroup/berth/web/main"
    values = {setting.path.rpartition("/")[2]: setting.value for setting in cgroups.limits("web", service.limits)}
    assert values == {"memory.max": "1048576", "cpu.max": "50000 100000", "pids.max": "9"}
    assert [setting.value for setting in cgroups.hand_down("/x", "cpuset pids memory")] == ["+memory", "+pids"]
    assert cgroups.is_empty("populated 0\nfrozen 0\n")
    assert not cgroups.is_empty("populated 1\nfrozen 0\n")


@given(st.binary(max_size=200))
def test_any_datagram_is_read(data):
    ready, pid = read_notification(data)
    assert isinstance(ready, bool)
    assert pid is None or pid > 1


def test_notifications():
    assert read_notification(b"MAINPID=77\nREADY=1") == (True, 77)
    assert read_notification(b"READY=0\nMAINPID=1\nMAINPID=x") == (False, None)


def test_fingerprints_are_those_of_ssh_keygen():
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl x"
    assert sshd.fingerprint(key) == "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"
    with pytest.raises(ValueError, match="no public key"):
        sshd.fingerprint("nonsense")


def test_ssh_is_there_only_where_somebody_could_log_in():
    def somebody(**how):
        return User(**{"name": "a", "ssh_authorized_keys": ("k",), **how})

    password = {"ssh_authorized_keys": (), "password_hash": "$6$x", "lock_password": False}
    assert not wayin.by_ssh(Machine())
    assert wayin.by_ssh(Machine(users=(somebody(),)))
    assert not wayin.by_ssh(Machine(users=(somebody(shell="/usr/sbin/nologin"),)))
    assert not wayin.by_ssh(Machine(users=(somebody(name="root"),)))
    assert wayin.by_ssh(Machine(users=(somebody(name="root"),), disable_root=False))
    assert not wayin.by_ssh(Machine(root_keys=("k",)))
    assert wayin.by_ssh(Machine(root_keys=("k",), disable_root=False))
    assert not wayin.by_ssh(Machine(users=(somebody(**password),)))
    assert wayin.by_ssh(Machine(users=(somebody(**password),), ssh_password=True))
    assert not wayin.by_ssh(Machine(users=(somebody(**{**password, "lock_password": True}),), ssh_password=True))


@pytest.mark.parametrize(
    ("kernel", "shown"), [("6.12-amd64", "1.0 (demo)"), ("6.12-cloud-amd64", "1.0 (demo, VM image)")]
)
def test_the_status_page_says_that_an_image_is_for_virtual_machines_alone(kernel, shown):
    release = Release(name="demo", version="1.0", machine_class="demo", engine="none", kernel=kernel, epoch=0)
    whole = SimpleNamespace(
        early=SimpleNamespace(release=release, state=SimpleNamespace(kind="ext4")),
        boot=SimpleNamespace(in_force=SimpleNamespace(machine=Machine(), source="recipe")),
        applier=SimpleNamespace(uplink=SimpleNamespace(up={}), attempt=None),
        performer=SimpleNamespace(supervisor=SimpleNamespace(services={})),
        system=None, loop=None, record=None,
    )  # fmt: skip
    assert f"Berth    {shown}\n" in Reporter(whole).page()


def facts_and_containers():
    facts = st.dictionaries(st.sampled_from(["Berth", "machine", "network", "config", "state"]), st.text(max_size=200))
    health = st.sampled_from(["healthy", "unhealthy", "starting"])
    return st.tuples(facts, st.lists(st.tuples(st.text(max_size=90), health, st.text(max_size=90)), max_size=60))


@given(facts_and_containers())
def test_the_status_page_fits_on_a_screen(shown):
    facts, containers = shown
    lines = console.page(facts, containers).split("\n")
    assert len(lines) <= 24
    assert max(map(screen.columns, lines)) <= 80
    told = sum(line.startswith("  container ") for line in lines)
    assert told == len(containers) or f"… and {len(containers) - told} more: berthctl ps" in lines[-2]


def test_a_container_that_is_not_well_is_on_the_page_whatever_else_runs():
    many = [(f"c{number}", "healthy", "") for number in range(40)]
    assert "  container bad: unhealthy" in console.page({"machine": "m"}, [*many, ("bad", "unhealthy", "")])
    assert console.page({"machine": "m"}, many).count("container c") == 20
