"""Writing the files of `write_files`, and what else is done once per instance and not at each boot.

Files are written at each boot, for `/etc`, `/run` and `/tmp` are new each time. On state a second `append` would make
the file longer and longer, so there it is done once per instance, as cloud-init does.
"""

from __future__ import annotations

import binascii

from init.pid1.scripts import INSTANCES, instance_marker

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from init.formats.machine import WrittenFile
    from init.pid1.system import System

LARGEST = 64 << 20  # bytes of a file that is appended to
_NEW_EACH_BOOT = ("/etc/", "/run/", "/tmp/")  # noqa: S108 - the places are named, nothing is put there


def write_file(system: System, file: WrittenFile, instance_id: str) -> None:
    """Write one file, with the folders above it; raise OSError, ValueError."""
    data = binascii.a2b_base64(file.content)
    uid, gid = owner(system, file.owner, file.group)
    make_folders(system, file.path.rpartition("/")[0], uid, gid)
    mark = f"{binascii.crc32(data):08x} {file.path}"
    once = file.append and not file.path.startswith(_NEW_EACH_BOOT)
    if once and mark in done(system, instance_id, "appended"):
        return
    if file.append and system.exists(file.path):
        data = system.read(file.path, LARGEST) + data
    system.replace(file.path, data, file.mode)
    if uid or gid:
        system.set_owner(file.path, uid, gid)
    if once:
        keep(system, instance_id, "appended", mark)


def make_folders(system: System, path: str, uid: int, gid: int) -> None:
    """Make the folders that are missing, each the file's owner's."""
    parts = path.strip("/").split("/")
    for count in range(1, len(parts) + 1):
        folder = "/" + "/".join(parts[:count])
        if folder != "/" and not system.exists(folder):
            system.make_folder(folder)
            if uid or gid:
                system.set_owner(folder, uid, gid)


def owner(system: System, user: str, group: str) -> tuple[int, int]:
    """Return the ids of names, from the files that were just written; raise ValueError for an unknown one."""
    return named_id(_text(system, "/etc/passwd"), user), named_id(_text(system, "/etc/group"), group)


def named_id(table: str, name: str) -> int:
    """Return the id of a name in the text of /etc/passwd or /etc/group; a number stands for itself."""
    if name.isdecimal() or name == "root":
        return int(name) if name != "root" else 0
    for line in table.splitlines():
        parts = line.split(":")
        if len(parts) > 2 and parts[0] == name and parts[2].isdecimal():
            return int(parts[2])
    raise ValueError(f"there is no {name}")


def done(system: System, instance_id: str, work: str) -> list[str]:
    """Return what was noted of an instance's work, line by line."""
    return _text(system, instance_marker(instance_id, work)).splitlines()


def keep(system: System, instance_id: str, work: str, line: str = "") -> None:
    """Note that an instance's work was done; raise OSError."""
    lines = [*done(system, instance_id, work), line]
    system.make_folder(INSTANCES)
    system.replace(instance_marker(instance_id, work), "".join(f"{each}\n" for each in lines if each).encode())


def _text(system: System, path: str) -> str:
    try:
        return system.read(path).decode("utf-8", "replace")
    except OSError:
        return ""
