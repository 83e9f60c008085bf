"""Logs of the boots before: when a boot begins, the folder that the last one wrote becomes number 1, and so on.

/var/log/berth      this boot
/var/log/berth.1    the boot before; `.2`, `.3` those before that. What is older is removed
"""

from __future__ import annotations

from init.formats.logfile import FORMER_KEPT

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from init.pid1.system import System


def put_away(system: System, folder: str) -> None:
    """Make room for this boot's logs. Raise OSError; what a power cut interrupts goes on at the next boot."""
    if not system.exists(folder) or not system.names(folder):
        return
    if system.exists(f"{folder}.{FORMER_KEPT}"):
        system.remove_tree(f"{folder}.{FORMER_KEPT}")
    for number in range(FORMER_KEPT - 1, 0, -1):
        if system.exists(f"{folder}.{number}"):
            system.rename(f"{folder}.{number}", f"{folder}.{number + 1}")
    system.rename(folder, f"{folder}.1")
