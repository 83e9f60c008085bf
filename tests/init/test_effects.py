"""What PID 1 does with a configuration, on the fake kernel: files, once-only work, mounts, last words, the report."""

from __future__ import annotations

import base64
import functools
import json
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from fakes import machine
from fakes.running import Program, RunningSystem, running
from fakes.system import FakeSystem

from init import phonehome
from init.formats import events
from init.formats import machine as formats
from init.formats.machine import Command, Container, Health, Machine, Mount, PhoneHome, PowerState, Volume, WrittenFile
from init.formats.release import DEFAULT_MACHINE_PATH
from init.formats.service import Service
from init.pid1 import halves, scripts, written
from init.pid1.events import Announcer
from init.pid1.system import Spawn

PASSWD = b"root:x:0:0::/root:/bin/sh\nann:x:1001:1002::/home/ann:/bin/sh\n"
GROUP = b"root:x:0:\nann:x:1002:\n"


def file(path: str, text: str, **fields: object) -> WrittenFile:
    return WrittenFile(path=path, content=base64.b64encode(text.encode()).decode(), **fields)


@pytest.fixture
def system() -> FakeSystem:
    made = machine.base("")
    made.tree.fill({"/etc/passwd": PASSWD, "/etc/group": GROUP, "/var/lib/berth": None, "/home": None})
    return made


def test_folders_above_a_file_are_its_owners(system: FakeSystem) -> None:
    written.write_file(system, file("/home/ann/.config/app/x", "a", owner="ann", group="ann", mode=0o600), "i-1")
    given = [call.arguments for call in system.calls if call.name == "set_owner"]
    below = ("/home/ann", "/home/ann/.config", "/home/ann/.config/app", "/home/ann/.config/app/x")
    assert given == [(path, 1001, 1002) for path in below]


def test_an_unknown_owner_leaves_nothing_behind(system: FakeSystem) -> None:
    with pytest.raises(ValueError, match="there is no bob"):
        written.write_file(system, file("/var/new/x", "a", owner="bob"), "i-1")
    assert not system.exists("/var/new")


def test_what_is_on_state_is_appended_once_per_instance(system: FakeSystem) -> None:
    system.tree.put("/var/log.txt", b"start\n")
    for instance, lines in (("i-1", 1), ("i-1", 1), ("i-2", 2), ("i-2", 2)):
        written.write_file(system, file("/var/log.txt", "more\n", append=True), instance)
        assert system.read("/var/log.txt") == b"start\n" + b"more\n" * lines
    for _ in range(2):
        written.write_file(system, file("/var/new.txt", "first\n", append=True), "i-1")
    assert system.read("/var/new.txt") == b"first\n", "a file that wasn't there counts as well"
    written.write_file(system, file("/etc/log", "x", append=True), "i-1")
    written.write_file(system, file("/etc/log", "x", append=True), "i-1")
    assert system.read("/etc/log") == b"xx", "/etc is new at each boot, so nothing is remembered of it"


def test_options_for_readers_of_fstab_do_not_reach_the_kernel() -> None:
    options = ("defaults", "nofail", "x-systemd.requires=cloud-init.service", "_netdev", "comment=cloudconfig", "ro")
    assert scripts.mount_options(Mount(device="/dev/vdb", target="/mnt", options=options)) == "defaults,ro"
    assert scripts.mount_options(Mount(device="/dev/vdb", target="/mnt", options=("nofail",))) == "defaults"
    assert scripts.mounts((Mount(device="/dev/vdb", target="/mnt", options=("noauto",)),)) == ()


def test_a_container_waits_for_the_mount_below_its_volume() -> None:
    wanted = Machine(
        mounts=(Mount(device="a", target="/mnt/a"), Mount(device="b", target="/var/lib/berth/volumes/data")),
        containers=(
            Container(name="one", image="x", volumes=(Volume(source="/mnt/a/deep", target="/x"),)),
            Container(name="two", image="x", volumes=(Volume(source="data", target="/x"),)),
            Container(name="three", image="x", volumes=(Volume(source="/mnt/ab", target="/x"),)),
        ),
    )
    services = [Service(name=name, argv=(), is_container=True) for name in ("one", "two", "three")]
    after = [service.after for service in scripts.behind_mounts(wanted, services)]
    assert after == [("mount-0",), ("mount-1",), ()]
    assert {one.restart_limit for one in scripts.mounts(wanted.mounts)} == {None}, "a file server is up later"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("up after $UPTIME s, ${version} by $DATASOURCE", "up after 7 s, 1.0 by cidata"),
        ("## template: jinja\nup after {{ uptime }} s, {{version}}", "up after 7 s, 1.0"),
        ("costs $5", "costs $5"),
    ],
)
def test_the_last_word_may_name_facts(text: str, said: str) -> None:
    assert scripts.final_text(text, {"uptime": "7", "version": "1.0", "datasource": "cidata"}) == said


WANTED = Machine(
    instance_id="i-1",
    bootcmd=(Command(argv=("true",)),),
    runcmd=(Command(argv=("true",)),),
    phone_home=PhoneHome(url="http://10.0.2.2/$INSTANCE_ID"),
    power_state=PowerState(mode="reboot", delay=5.0),
    health=Health(settle=5.0),
)
MARKS = tuple(scripts.instance_marker("i-1", work) for work in ("runcmd", "phone_home", "power_state"))


def live(
    marks: Sequence[str] = (),
    *,
    network: bool = True,
    address_after: float = 0.5,
    wanted: Machine = WANTED,
    condition: bytes = b"",
) -> tuple[RunningSystem, list[str]]:
    """Live one life; `marks` are on state before `bootcmd` ends. Return the machine, and why it went down.

    `address_after`: the seconds that the network's server takes. `condition`: what the shell leaves as the status of
    `power_state`'s.
    """
    reasons: list[str] = []

    def begin(argv: Sequence[str]) -> Program:
        if argv[-1].endswith("/bootcmd"):
            return Program(seconds=0.1, then=lambda system: note(system, marks))
        if scripts.CONDITION in argv[-1]:
            return Program(seconds=3.0, then=lambda system: system.replace(scripts.CONDITION_STATUS, condition))
        if "dhcpcd" in argv[0]:
            begins = functools.partial(gets_an_address, seconds=address_after)
            return Program(begins=begins) if network else Program()
        return Program() if "chronyd" in argv[0] else Program(seconds=0.1)

    made = running(machine.installed(), begin)
    root = made.filesystems["/dev/vda7"]
    root[DEFAULT_MACHINE_PATH] = json.dumps(formats.encode(wanted)).encode()
    made.filesystems["proc"]["/sys/kernel/random/boot_id"] = b"0-1-2\n"
    made.filesystems["cgroup2"] = {"/cgroup.controllers": b"cpu memory pids\n", "/cgroup.subtree_control": b""}
    made.filesystems["devtmpfs"]["/kmsg"] = b""
    announcer = Announcer(made)
    announcer.listen(
        lambda name, line: reasons.append(json.loads(line)["why"]) if name == events.SHUTDOWN_BEGUN else None
    )
    made.at(300.0, lambda: made.raise_signal(signal.SIGUSR2))
    halves.run(made, announcer)
    return made, reasons


def note(system: RunningSystem, marks: Sequence[str]) -> None:
    system.make_folder(scripts.INSTANCES)
    for mark in marks:
        system.replace(mark, b"")


def gets_an_address(system: RunningSystem, spawn: Spawn, *, seconds: float) -> None:
    def act() -> None:
        system.addressed.append(("eth0", "10.0.2.15/24"))
        system.readable.update(number for number, what in system._descriptors.items() if what == "network")

    system.later(seconds, act)


def test_what_is_done_once_per_instance() -> None:
    made, reasons = live()
    (call,) = [argv for argv in made.started if "phone-home" in argv]
    assert "http://10.0.2.2/i-1" in call
    assert ("/bin/sh", "/run/berth/scripts/runcmd") in made.started
    assert reasons == ["power_state of the config"]


def test_and_not_again_at_the_next_boot() -> None:
    made, reasons = live(MARKS)
    assert not [argv for argv in made.started if "phone-home" in argv or argv[-1].endswith("/runcmd")]
    assert reasons == ["SIGUSR2"]


def test_runcmd_does_not_wait_for_ever_for_a_network() -> None:
    made, reasons = live(network=False)
    assert ("/bin/sh", "/run/berth/scripts/runcmd") in made.started
    assert reasons == ["power_state of the config"], "and power_state waits for it"


def times(made: RunningSystem, mode: str) -> float:
    """Return when reboot(2) came in this `mode`, in seconds of the machine's own clock."""
    assert made.powered == mode
    return made.now()


@pytest.mark.parametrize("mode", ["poweroff", "halt", "reboot"])
def test_the_machine_goes_down_in_the_way_that_is_asked_for_and_after_its_delay(mode: str) -> None:
    ends = []
    for delay in (0.0, 120.0):
        made, reasons = live(wanted=replace(WANTED, power_state=PowerState(mode=mode, delay=delay, message="bye")))
        assert reasons == ["power_state of the config"]
        ends.append(times(made, mode))
    assert ends[1] - ends[0] == pytest.approx(120.0, abs=0.5)


@pytest.mark.parametrize("status", [b"0\n", b"1\n", b"127\n", b""])
def test_a_condition_is_asked_once_and_decides(status: bytes) -> None:
    asked = PowerState(mode="halt", condition=Command(argv=("test", "-e", "/x y")))
    wanted = replace(WANTED, power_state=asked)
    made, reasons = live(wanted=wanted, condition=status)
    runs = [argv for argv in made.started if scripts.CONDITION in argv[-1]]
    assert len(runs) == 1
    order = ["/runcmd" in argv[-1] or scripts.CONDITION in argv[-1] for argv in made.started]
    assert order.count(True) == 2, "when the commands are done"
    assert reasons == (["power_state of the config"] if status == b"0\n" else ["SIGUSR2"])
    made, _ = live(MARKS, wanted=wanted, condition=status)
    assert not [argv for argv in made.started if scripts.CONDITION in argv[-1]]


def test_a_boot_that_takes_longer_than_it_has_to_rest_has_its_last_word_too() -> None:
    """Without a network nothing else says that the end has come."""
    _, reasons = live(network=False, wanted=replace(WANTED, health=Health(settle=0.05)))
    assert reasons == ["power_state of the config"]


@pytest.mark.parametrize(
    ("address_after", "pages"), [(0.5, [["eth0 10.0.2.15/24"]] * 2), (60.0, [[], [], *[["eth0 10.0.2.15/24"]] * 2])]
)
def test_the_page_comes_again_when_a_slow_machine_is_up(address_after: float, pages: list[list[str]]) -> None:
    """Each comes on two consoles."""
    made, _ = live(address_after=address_after, wanted=Machine(health=Health(settle=5.0)))
    shown = [page.split("\r\n\r\n")[0] for page in made.said.decode().split("  machine  ")[1:]]
    lines = [[line for line in page.splitlines() if line.startswith("  network  ")] for page in shown]
    assert [[line.removeprefix("  network  ") for line in page] for page in lines] == pages


@pytest.fixture
def address() -> Iterator[tuple[str, list[bytes]]]:
    told: list[bytes] = []

    class Takes(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(503 if self.path == "/busy" else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Takes)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", told
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_report_is_a_form_and_is_noted_when_it_was_taken(
    address: tuple[str, list[bytes]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url, told = address
    key, marker = tmp_path / "key.pub", tmp_path / "instances" / "i-1.phone_home"
    key.write_text("ssh-ed25519 AA+/A= x\n")
    pairs = ["hostname=a b&c", f"pub_key_ed25519@{key}", f"pub_key_rsa@{tmp_path}/none", "fqdn=x@y=z"]
    assert phonehome.main([f"{url}/busy", str(marker), *pairs]) == 1
    assert not marker.exists()
    assert "did not take the report" in capsys.readouterr().err
    assert phonehome.main([url, str(marker), *pairs]) == 0
    assert marker.exists()
    assert parse_qs(told[1].decode()) == {
        "hostname": ["a b&c"],
        "pub_key_ed25519": ["ssh-ed25519 AA+/A= x"],
        "pub_key_rsa": ["N/A"],
        "fqdn": ["x@y=z"],
    }


def test_bootcmd_knows_the_instance() -> None:
    assert dict(scripts.bootcmd("i-1").environment) == {"INSTANCE_ID": "i-1"}
