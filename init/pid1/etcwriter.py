"""Writing what the configuration decides below `/etc`, and the homes: at the boot, and where it changes later."""

from __future__ import annotations

from dataclasses import replace

from init.formats import wayin
from init.pid1.settings import FACTORY_ETC

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from init.formats.machine import Machine
    from init.pid1.accounts import Accounts, Home
    from init.pid1.apply import Applier
    from init.pid1.earlyresult import EarlyResult
    from init.pid1.etc import EtcFile
    from init.pid1.remembered import Memory
    from init.pid1.system import System


class EtcWriter:
    """Each file is a piece of work of its own under the applier's net."""

    def __init__(self, system: System, applier: Applier, early: EarlyResult) -> None:
        self._system = system
        self._applier = applier
        self._early = early

    def write(self, machine: Machine) -> None:
        """Write every file, and make the homes that are missing."""
        from init.pid1 import etc  # noqa: PLC0415 - the initramfs can do without it

        if machine.ca_remove_defaults:
            self._applier.attempt("the image's authorities", self._remove_authorities)
        if machine.timezone != "UTC" and not self._system.exists(f"{etc.ZONES}/{machine.timezone}"):
            self._applier.problem(
                f"the time zone {machine.timezone} is not in this image: the clock shows UTC", about="zone"
            )
        accounts = self._accounts(machine)
        for entry in self._files(machine, accounts).values():
            self._applier.insist(entry.path, lambda entry=entry: self._put(entry))  # type: ignore[misc]
        self._make_homes(accounts)

    def _files(self, machine: Machine, accounts: Accounts) -> dict[str, EtcFile]:
        from init.pid1 import etc  # noqa: PLC0415 - the same

        release = self._early.release
        assert release is not None, "without a release there is no root, and without a root no running half"
        bundle = self._bytes(f"{FACTORY_ETC}{etc.BUNDLE.removeprefix('/etc')}") if machine.ca_certificates else b""
        return {entry.path: entry for entry in etc.files(machine, release, accounts, bundle)}

    def _accounts(self, machine: Machine) -> Accounts:
        """Return who there is; names keep the numbers that they had at former boots."""
        from init.pid1 import accounts, remembered  # noqa: PLC0415 - the same

        base = accounts.read_base(*(self._text(f"{FACTORY_ETC}/{name}") for name in ("passwd", "group", "shadow")))
        memory = self._remembered()
        made = accounts.resolve(self._with_shells(machine), base, memory or remembered.NOTHING)
        if memory is not None and self._early.state.kind == "ext4":
            self._remember(memory, accounts.remember(memory, made))
        return made

    def _with_shells(self, machine: Machine) -> Machine:
        """Give the image's own shell to who wants one that it does not have: sshd lets nobody in without a shell."""
        users = []
        for user in machine.users:
            there = user.shell == wayin.SHELL or user.shell in wayin.NO_SHELLS or self._system.exists(user.shell)
            if not there:
                self._applier.say(f"{user.shell}, the shell of {user.name}, is not in this image: it is {wayin.SHELL}")
            users.append(user if there else replace(user, shell=wayin.SHELL))
        return replace(machine, users=tuple(users))

    def _remembered(self) -> Memory | None:
        """Return the numbers that names had at former boots, None where that can't be told now."""
        from init.pid1 import remembered  # noqa: PLC0415 - the initramfs can do without it

        try:
            status = self._system.status(remembered.PATH)
            if status.mode & 0o170000 != 0o100000 or status.size > remembered.MOST:
                return remembered.NOTHING
            return remembered.read(self._system.read(remembered.PATH, remembered.MOST))
        except FileNotFoundError:
            return remembered.NOTHING
        except OSError as error:
            self._applier.say(f"{remembered.PATH} can't be read, so users may get other numbers: {error.strerror}")
            return None

    def _remember(self, before: Memory, now: Memory) -> None:
        from init.pid1 import remembered  # noqa: PLC0415 - the initramfs can do without it

        if now != before:
            text = remembered.render(now)
            self._applier.insist("the numbers of users", lambda: self._system.replace(remembered.PATH, text, 0o600))

    def _make_homes(self, accounts: Accounts) -> None:
        for home in accounts.homes:
            self._applier.insist(home.path, lambda home=home: self._make_home(home))  # type: ignore[misc]

    def _make_home(self, home: Home) -> None:
        """One that is there is a person's: it stays as it is."""
        if not self._system.exists(home.path):
            self._system.make_folder(home.path, home.mode)
            self._system.set_owner(home.path, home.uid, home.gid)

    def _put(self, entry: EtcFile) -> None:
        self._system.make_folder(entry.path.rpartition("/")[0])
        if entry.target:
            self._system.make_link(entry.path, entry.target)
            return
        self._system.replace(entry.path, entry.data, entry.mode)
        if entry.uid or entry.gid:
            self._system.set_owner(entry.path, entry.uid, entry.gid)

    def _remove_authorities(self) -> None:
        """Programs look into the folder as well as into the bundle."""
        from init.pid1 import etc  # noqa: PLC0415 - the initramfs can do without it

        folder = etc.BUNDLE.rpartition("/")[0]
        for name in self._system.names(folder):
            self._system.remove(f"{folder}/{name}")

    def renew(self, old: Machine, new: Machine) -> list[str]:
        """Write what changed, and return the paths. What didn't is not touched: others may have written to it since,
        such as the DHCP client.
        """
        accounts = self._accounts(new)
        before, after = self._files(old, self._accounts(old)), self._files(new, accounts)
        changed = [path for path, entry in after.items() if entry != before.get(path)]
        for path in changed:
            self._applier.insist(path, lambda path=path: self._put(after[path]))  # type: ignore[misc]
        for path in before:
            if path not in after:  # the keys of somebody who may not log in any more
                self._applier.insist(path, lambda path=path: self._system.remove(path))  # type: ignore[misc]
        self._make_homes(accounts)
        return changed

    def _text(self, path: str) -> str:
        return self._bytes(path).decode("utf-8", "replace")

    def _bytes(self, path: str) -> bytes:
        """Return what the image has there, if anything. The boot can't wait, so it is asked again at once."""
        for again in (True, False):
            try:
                return self._system.read(path)
            except FileNotFoundError:
                return b""
            except OSError as error:
                if not again:
                    self._applier.problem(f"{path} can't be read: {error.strerror}")
        return b""
