"""Accounts: ids that do not move, the same after each apply, and shadow fields that sshd takes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from init.formats.machine import Group, Machine, User
from init.formats.release import Release
from init.pid1 import accounts, etc

PASSWD = """root:x:0:0:root:/root:/bin/sh
sshd:x:101:65534:sshd user:/run/sshd:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
"""
GROUP = "root:x:0:\nsudo:x:27:\nusers:x:100:\nnogroup:x:65534:\n"
SHADOW = "root:*:20000:0:99999:7:::\nsshd:*:20000:0:99999:7:::\nnobody:*:20000:0:99999:7:::\n"
BASE = accounts.read_base(PASSWD, GROUP, SHADOW)
RELEASE = Release(name="minimal", version="1", machine_class="minimal-amd64", engine="crun", kernel="6", epoch=0)
NAMES = st.sampled_from(["root", "sshd", "berth", "ann", "bob", "ops", "users"])
USERS = st.builds(
    User,
    name=NAMES,
    uid=st.none() | st.integers(1000, 1005),
    primary_group=st.none() | NAMES,
    groups=st.lists(NAMES, max_size=2).map(tuple),
    password_hash=st.none() | st.just("$6$x"),
    lock_password=st.booleans(),
    system=st.booleans(),
    ssh_authorized_keys=st.lists(st.just("ssh-ed25519 A"), max_size=1).map(tuple),
)
MACHINES = st.builds(
    Machine,
    users=st.lists(USERS, max_size=5, unique_by=lambda user: user.name).map(tuple),
    groups=st.lists(st.builds(Group, name=NAMES, members=st.lists(NAMES, max_size=2).map(tuple)), max_size=3).map(
        tuple
    ),
)


def written(machine: Machine, base: accounts.Base = BASE) -> dict[str, str]:
    return {each.path: each.data.decode() for each in etc.files(machine, RELEASE, base)}


@given(MACHINES)
def test_rules_of_accounts(machine: Machine) -> None:
    got = accounts.resolve(machine, BASE)
    names = [user.name for user in got.users]
    groups = {line.name: line for line in got.groups}
    assert len(set(names)) == len(names)
    assert {"root", "sshd", "nobody", *(user.name for user in machine.users)} == set(names)
    given_uids = [user.uid for user in machine.users if user.uid is not None]
    if len(set(given_uids)) == len(given_uids):
        assert len({user.uid for user in got.users}) == len(got.users)
    assert len({line.gid for line in got.groups}) == len(got.groups)
    assert all(user.gid in {line.gid for line in got.groups} for user in got.users)
    assert all(not user.password.startswith("!") for user in got.users)
    for user in machine.users:
        assert all(user.name in groups[name].members for name in user.groups)
    root = next(user for user in got.users if user.name == "root")
    assert (root.uid, root.gid) == (0, 0)


@given(MACHINES, MACHINES)
def test_a_former_configuration_leaves_no_trace(before: Machine, after: Machine) -> None:
    old = written(before)
    again = accounts.read_base(old["/etc/passwd"], old["/etc/group"], old["/etc/shadow"])
    got = written(after, again)
    fresh = written(after)
    for path in ("/etc/group", "/etc/shadow"):
        assert got[path] == fresh[path]
    assert [line.split(":")[:4] for line in got["/etc/passwd"].splitlines()] == [
        line.split(":")[:4] for line in fresh["/etc/passwd"].splitlines()
    ]


def test_ids_are_remembered() -> None:
    machine = Machine(users=(User(name="new"), User(name="old")))
    got = accounts.resolve(machine, BASE, {"old": 1000, "new": 0})
    assert {user.name: user.uid for user in got.users if user.managed} == {"old": 1000, "new": 1001}


def test_the_default_user() -> None:
    machine = Machine(
        users=(User(name="berth", uid=1000, primary_group="berth", ssh_authorized_keys=("ssh-ed25519 A",)),)
    )
    got = written(machine)
    assert "berth:x:1000:1000::/home/berth:/bin/sh\n" in got["/etc/passwd"]
    assert "berth:*:20000:" in got["/etc/shadow"]
    assert got["/etc/ssh/authorized_keys/berth"] == "ssh-ed25519 A\n"
    assert accounts.resolve(machine, BASE).homes == (accounts.Home(path="/home/berth", uid=1000, gid=1000),)


def test_passwords_are_only_for_those_who_may_use_them() -> None:
    users = (User(name="a", password_hash="$6$x", lock_password=False), User(name="b", password_hash="$6$y"))
    got = written(Machine(users=users))["/etc/shadow"]
    assert "a:$6$x:" in got
    assert "b:*:" in got


def test_sshd_lets_in_by_keys_alone_unless_asked() -> None:
    text = written(Machine())["/etc/ssh/sshd_config"]
    assert "UsePAM no" in text
    assert "PasswordAuthentication no" in text
    assert "PermitRootLogin no" in text
    assert "HostKey /var/lib/berth/ssh/ssh_host_ed25519_key" in text
    root = User(name="root", password_hash="$6$x", lock_password=False)
    text = written(Machine(users=(root,), disable_root=False, ssh_password=True))["/etc/ssh/sshd_config"]
    assert "PermitRootLogin yes" in text
    text = written(Machine(disable_root=False, root_keys=("k",)))["/etc/ssh/sshd_config"]
    assert "PermitRootLogin prohibit-password" in text
    assert written(Machine(root_keys=("ssh-ed25519 A",)))["/etc/ssh/authorized_keys/root"] == "ssh-ed25519 A\n"


def test_given_host_keys_are_used_and_hidden() -> None:
    machine = Machine(ssh_host_keys=(("rsa_private", "PRIVATE"), ("rsa_public", "PUBLIC"), ("rsa_certificate", "C")))
    made = {each.path: each for each in etc.files(machine, RELEASE, BASE)}
    assert made["/etc/ssh/ssh_host_rsa_key"].mode == 0o600
    config = made["/etc/ssh/sshd_config"].data.decode()
    assert "HostKey /etc/ssh/ssh_host_rsa_key\nHostCertificate /etc/ssh/ssh_host_rsa_key-cert.pub\n" in config


def test_names_clock_and_zone() -> None:
    machine = Machine(hostname="a", fqdn="a.b.c", timezone="Europe/Berlin", ntp_servers=("t.example",))
    made = {each.path: each for each in etc.files(machine, RELEASE, BASE)}
    assert b"127.0.1.1 a.b.c a\n" in made["/etc/hosts"].data
    assert made["/etc/localtime"].target == "/usr/share/zoneinfo/Europe/Berlin"
    chrony = made["/etc/chrony/chrony.conf"].data
    assert b"server t.example iburst" in chrony
    assert b"pool " not in chrony
    assert b"pool " in {each.path: each for each in etc.files(Machine(), RELEASE, BASE)}["/etc/chrony/chrony.conf"].data
    assert b"127.0.1.1" not in written(Machine(manage_etc_hosts="false"))["/etc/hosts"].encode()


def test_certificates_add_to_the_bundle_or_replace_it() -> None:
    def bundle(machine: Machine, own: bytes) -> bytes | None:
        made = {each.path: each.data for each in etc.files(machine, RELEASE, BASE, own)}
        return made.get(etc.BUNDLE)

    assert bundle(Machine(), b"D\n") is None
    assert bundle(Machine(ca_certificates=("C",)), b"D\n") == b"D\nC\n"
    assert bundle(Machine(ca_certificates=("C",), ca_remove_defaults=True), b"D\n") == b"C\n"
    assert bundle(Machine(ca_certificates=("C",)), b"") is None
