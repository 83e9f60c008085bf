"""Users and groups of a machine, pure: the image's own from the factory's files, the configuration's beside them.

    ids 0–899, 65534   the image's; they never move (`builder/stages/accounts.py`)
    ids 900–989        system users and groups of the configuration
    ids from 1000      people

`/etc` is made anew at each boot, so what a former configuration added is left out of what is read here: the same
configuration and the same memory (`init.pid1.remembered`) always give the same accounts. A name keeps the number that
it once had, and a number that was somebody's goes to nobody else unless the configuration says so by number: files
of that number may live on. A shadow field without a password is `*`, never `!`: sshd without PAM
refuses a key for a user whose field begins with `!`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from init.pid1.remembered import NOTHING, Memory

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from init.formats.machine import Group, Machine, User

_SYSTEM_IDS = range(900, 990)
_PEOPLE_IDS = range(1000, 60000)
_SPARE_IDS = range(60000, 65000)  # where the others are used up
_OVERFLOW = 65534  # `nobody`


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """One line of passwd(5) with its shadow field. `managed` says that it comes from the configuration."""

    name: str
    uid: int
    gid: int
    gecos: str = ""
    home: str = "/nonexistent"
    shell: str = "/usr/sbin/nologin"
    password: str = "*"  # noqa: S105 - a shadow field that no password matches
    managed: bool = False
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupLine:
    """One line of group(5)."""

    name: str
    gid: int
    members: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Home:
    """A home directory that has to be there. `mode` is given only where it is made."""

    path: str
    uid: int
    gid: int
    mode: int = 0o700


@dataclass(frozen=True, kw_only=True, slots=True)
class Base:
    """The image's own accounts, and the day of their shadow lines."""

    accounts: tuple[Account, ...] = ()
    groups: tuple[GroupLine, ...] = ()
    day: str = "20000"


@dataclass(frozen=True, kw_only=True, slots=True)
class Accounts:
    """All accounts of the machine, sorted by number, and the homes to make."""

    users: tuple[Account, ...]
    groups: tuple[GroupLine, ...]
    homes: tuple[Home, ...]
    day: str


def read_base(passwd: str, group: str, shadow: str) -> Base:
    """Read the three files as the image has them, or as a former configuration left them; never fails."""
    accounts = []
    for name, fields in _lines(passwd, 7):
        if fields[1].isdecimal() and fields[2].isdecimal() and _is_own(int(fields[1])):
            account = Account(
                name=name, uid=int(fields[1]), gid=int(fields[2]), gecos=fields[3], home=fields[4], shell=fields[5]
            )
            accounts.append(account)
    groups = []
    for name, fields in _lines(group, 4):
        if fields[1].isdecimal() and _is_own(int(fields[1])):
            groups.append(GroupLine(name=name, gid=int(fields[1])))
    days = [fields[1] for _, fields in _lines(shadow, 9) if fields[1].isdecimal()]
    return Base(accounts=tuple(accounts), groups=tuple(groups), day=days[0] if days else "20000")


def resolve(machine: Machine, base: Base, memory: Memory = NOTHING) -> Accounts:
    """Return all accounts: each user of the configuration gets its uid, group, home and shadow field.

    `memory` is what `remember` told of former boots.
    """
    users = {account.name: account for account in base.accounts}
    groups = {line.name: line for line in base.groups}
    uids = _Numbers((account.uid for account in base.accounts), memory.users)
    gids = _Numbers((line.gid for line in base.groups), memory.groups)
    for user in machine.users:
        if user.uid is not None and user.name not in users:
            uids.take(user.uid)
    for group in machine.groups:
        if group.gid is not None and group.name not in groups:
            gids.take(group.gid)
    for group in machine.groups:
        _add_group(group, groups, gids)
    for user in machine.users:
        known = users.get(user.name)
        if known is None:
            users[user.name] = _new(user, groups, uids, gids)
        else:
            users[user.name] = _changed(known, user)
    root = users.get("root")
    if root is not None and machine.root_keys:
        users["root"] = replace(root, keys=machine.root_keys, managed=True)
    _add_members(machine, users, groups, gids)
    made = {user.name: user for user in machine.users}
    homes = tuple(
        Home(path=account.home, uid=account.uid, gid=account.gid)
        for account in users.values()
        if account.name in made and made[account.name].create_home and account.home.startswith("/")
    )
    return Accounts(
        users=tuple(sorted(users.values(), key=lambda account: account.uid)),
        groups=tuple(sorted(groups.values(), key=lambda line: line.gid)),
        homes=homes,
        day=base.day,
    )


def remember(memory: Memory, accounts: Accounts) -> Memory:
    """Return the memory with the numbers that these accounts have; those of the image need none."""
    return Memory(
        users=_added(memory.users, ((user.name, user.uid) for user in accounts.users)),
        groups=_added(memory.groups, ((line.name, line.gid) for line in accounts.groups)),
    )


def _added(known: tuple[tuple[str, int], ...], now: Iterable[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    """The last entry of a name is its number, and a number is the last one's that had it."""
    holders = {number: name for name, number in now if not _is_own(number)}
    new = {number: name for number, name in holders.items() if (name, number) not in known}
    return (*(each for each in known if each[1] not in new), *((name, number) for number, name in new.items()))


def _lines(text: str, count: int) -> Iterable[tuple[str, list[str]]]:
    """Return name and further fields of each line that has as many as it should."""
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) == count and fields[0]:
            yield fields[0], fields[1:]


def _is_own(number: int) -> bool:
    return number not in _SYSTEM_IDS and (number < _PEOPLE_IDS.start or number == _OVERFLOW)


class _Numbers:
    """Ids that are taken, those that names had before, and the next free one."""

    def __init__(self, taken: Iterable[int], remembered: tuple[tuple[str, int], ...]) -> None:
        self._taken = set(taken)
        self._had = {name: number for name, number in remembered if not _is_own(number)}
        self._reserved = {number for _, number in remembered}

    def take(self, number: int) -> int:
        self._taken.add(number)
        return number

    def pick(self, name: str, *, system: bool, wish: int | None = None) -> int:
        """Return the number that a name had, else `wish` where that is nobody's, else the next that never was one."""
        had = self._had.get(name)
        if had is not None and had not in self._taken:
            return self.take(had)
        if wish is not None and wish not in self._taken | self._reserved:
            return self.take(wish)
        numbers = _SYSTEM_IDS if system else _PEOPLE_IDS
        for avoided in (self._taken | self._reserved, self._taken):  # when all were somebody's, one that no longer is
            for number in (*numbers, *_SPARE_IDS):
                if number not in avoided:
                    return self.take(number)
        raise ValueError("there are more users or groups than numbers for them")


def _add_group(group: Group, groups: dict[str, GroupLine], gids: _Numbers) -> None:
    if group.name not in groups:
        gid = group.gid if group.gid is not None else gids.pick(group.name, system=True)
        groups[group.name] = GroupLine(name=group.name, gid=gid)


def _new(user: User, groups: dict[str, GroupLine], uids: _Numbers, gids: _Numbers) -> Account:
    uid = user.uid if user.uid is not None else uids.pick(user.name, system=user.system)
    group = user.primary_group or user.name
    if group not in groups:
        groups[group] = GroupLine(name=group, gid=gids.pick(group, system=user.system, wish=uid))
    return Account(
        name=user.name,
        uid=uid,
        gid=groups[group].gid,
        gecos=user.gecos,
        home=user.home or f"/home/{user.name}",
        shell=user.shell,
        password=_shadow(user),
        managed=True,
        keys=user.ssh_authorized_keys,
    )


def _changed(account: Account, user: User) -> Account:
    """An account of the image that the configuration names, such as root: password, keys, and what is said of it."""
    return replace(
        account,
        gecos=user.gecos or account.gecos,
        home=user.home or account.home,
        password=_shadow(user),
        managed=True,
        keys=user.ssh_authorized_keys,
    )


def _shadow(user: User) -> str:
    return user.password_hash if user.password_hash and not user.lock_password else "*"


def _add_members(machine: Machine, users: dict[str, Account], groups: dict[str, GroupLine], gids: _Numbers) -> None:
    members: dict[str, dict[str, None]] = {}
    for group in machine.groups:
        members.setdefault(group.name, {}).update(dict.fromkeys(name for name in group.members if name in users))
    for user in machine.users:
        for name in user.groups:
            members.setdefault(name, {})[user.name] = None
    for name, names in members.items():
        line = groups.get(name) or GroupLine(name=name, gid=gids.pick(name, system=True))
        groups[name] = replace(line, members=tuple(names))
