"""Accounts: ids that do not move, the same after each apply, and shadow fields that sshd takes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from init.formats.machine import Group, Machine, User
from init.formats.release import Release
from init.pid1 import accounts, etc, remembered
from init.pid1.remembered import NOTHING, Memory

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
    made = accounts.resolve(machine, base)
    return {each.path: each.data.decode() for each in etc.files(machine, RELEASE, made)}


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


def named(*names: str, **fields: int) -> Machine:
    return Machine(users=tuple(User(name=name, uid=fields.get(name)) for name in names))


def after(*machines: Machine) -> tuple[dict[str, int], Memory]:
    """Apply one after another, as boots do with what is on state; return the last one's uids and the memory."""
    memory, uids = NOTHING, {}
    for machine in machines:
        got = accounts.resolve(machine, BASE, memory)
        uids = {user.name: user.uid for user in got.users if user.managed}
        memory = remembered.read(remembered.render(accounts.remember(memory, got)))
    return uids, memory


def test_a_user_keeps_its_number_in_another_order() -> None:
    assert after(named("ann", "bob"), named("new", "bob", "ann"))[0] == {"ann": 1000, "bob": 1001, "new": 1002}


def test_a_number_that_was_somebody_s_goes_to_nobody_else() -> None:
    assert after(named("ann"), named("bob"))[0] == {"bob": 1001}
    assert after(named("ann"), named("bob"), named("ann", "bob"))[0] == {"ann": 1000, "bob": 1001}


def test_a_number_that_the_configuration_gives_counts_more() -> None:
    assert after(named("ann"), named("bob", bob=1000))[0] == {"bob": 1000}
    uids, memory = after(named("ann"), named("bob", bob=1000), named("ann", "bob"))
    assert uids == {"ann": 1001, "bob": 1000}
    assert memory.users == (("bob", 1000), ("ann", 1001))
    assert after(named("ann"), named("ann", ann=2000), named("ann"), named("ann", "bob"))[0] == {
        "ann": 2000,
        "bob": 1001,
    }


def test_groups_are_remembered_too() -> None:
    first = Machine(groups=(Group(name="ops"), Group(name="web")))
    second = Machine(groups=(Group(name="new"), Group(name="web")), users=(User(name="u", groups=("more",)),))
    memory = after(first, second)[1]
    assert dict(memory.groups) == {"ops": 900, "web": 901, "new": 902, "u": 1000, "more": 903}


@given(st.lists(MACHINES, min_size=1, max_size=4))
def test_whatever_came_before_no_number_stands_twice(machines: list[Machine]) -> None:
    memory = NOTHING
    for machine in machines:
        before = dict(memory.users)
        got = accounts.resolve(machine, BASE, memory)
        given_uids = [user.uid for user in machine.users if user.uid is not None]
        if len(set(given_uids)) == len(given_uids):
            assert len({user.uid for user in got.users}) == len(got.users)
        assert len({line.gid for line in got.groups}) == len(got.groups)
        for user in machine.users:
            uid = next(each.uid for each in got.users if each.name == user.name)
            if user.uid is None and user.name in before and before[user.name] not in given_uids:
                assert uid == before[user.name]
            others = {number for name, number in memory.users if name != user.name}
            assert user.uid is not None or uid not in others
        memory = accounts.remember(memory, got)
        assert remembered.read(remembered.render(memory)) == memory


@given(
    st.binary(max_size=300)
    | st.lists(
        st.sampled_from(
            [
                b"user a 1000",
                b"group a 1000",
                b"user b 1000",
                b"user a 0",
                b"user a -1",
                b"user a 99999999",
                b"user a",
                b"",
                b"user  1000",
            ]
        )
    ).map(b"\n".join)
)
def test_any_bytes_are_a_memory(data: bytes) -> None:
    memory = remembered.read(data)
    for pairs in (memory.users, memory.groups):
        assert len({number for _, number in pairs}) == len(pairs)
        assert all(900 <= number < 65534 for _, number in pairs)
    got = accounts.resolve(named("a", "c"), BASE, memory)
    assert len({user.uid for user in got.users}) == len(got.users)


def test_the_memory_has_bounds() -> None:
    many = remembered.Memory(users=tuple((f"u{number}", number) for number in range(1000, 60000)))
    text = remembered.render(many)
    assert len(text) <= remembered.MOST
    assert ("u59999", 59999) in remembered.read(text).users


def test_numbers_that_are_used_up_are_given_again() -> None:
    system = tuple((f"s{number}", number) for number in range(900, 990))
    spare = tuple((f"p{number}", number) for number in range(60000, 65000))
    machine = Machine(users=(User(name="new", system=True),))
    got = accounts.resolve(machine, BASE, remembered.Memory(users=(*system, *spare)))
    assert {user.name: user.uid for user in got.users if user.managed} == {"new": 900}


def test_every_session_has_the_machines_environment() -> None:
    pairs = (
        ("HTTPS_PROXY", "http://p:1/"),
        ("ODD", 'a "b" \\ #c'),
        ("LINES", "a\nPermitRootLogin yes"),
        ("not-a-name", "x"),
    )
    lines = written(Machine(environment=pairs))["/etc/ssh/sshd_config"].splitlines()
    assert [line for line in lines if line.startswith("SetEnv")] == [
        'SetEnv "HTTPS_PROXY=http://p:1/" "ODD=a \\"b\\" \\\\ #c"'
    ]
    assert "PermitRootLogin yes" not in lines
    assert not any(line.startswith("SetEnv") for line in written(Machine())["/etc/ssh/sshd_config"].splitlines())
