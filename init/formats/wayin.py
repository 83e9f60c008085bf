"""Who could log in to a machine. PID 1 listens, and the installer installs, only where somebody could."""

from __future__ import annotations

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from init.formats.machine import Machine, User

SHELL = "/bin/sh"  # in every image; it takes the place of one that an image does not have
NO_SHELLS = frozenset(("/usr/sbin/nologin", "/sbin/nologin", "/usr/bin/false", "/bin/false"))


def by_ssh(machine: Machine) -> bool:
    """Tell whether somebody could log in by SSH."""
    if machine.root_keys and not machine.disable_root:
        return True
    return any(
        (user.ssh_authorized_keys or (machine.ssh_password and _has_password(user)))
        and user.shell not in NO_SHELLS
        and (user.name != "root" or not machine.disable_root)
        for user in machine.users
    )


def at_the_console(machine: Machine) -> bool:
    """Tell whether somebody could log in at the console, which takes passwords alone."""
    return any(_has_password(user) and user.shell not in NO_SHELLS for user in machine.users)


def _has_password(user: User) -> bool:
    return bool(user.password_hash) and not user.lock_password
