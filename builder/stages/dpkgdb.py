"""dpkg's database in `/usr/lib/berth/dpkg`, for scanners and for whoever asks what is on the machine.

At boot `/var/lib/dpkg` becomes a link to it. `status` is what dpkg would have written after installing the same
packages; `info/*.list` and `info/*.md5sums` are cut to what the image really has, a diverted file being where it was
diverted to; `diversions` is there where anything was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from builder.rootfs import mergedusr
from builder.rootfs.deb import Deb
from builder.rootfs.unpack import Unpacked
from builder.stages.context import StageContext
from builder.stages.draft import Draft

FOLDER = "usr/lib/berth/dpkg"
# fields of the archive's index, which dpkg leaves out of its status
_FOREIGN = frozenset({"Filename", "Size", "MD5sum", "SHA1", "SHA256", "Description-md5", "Section-Archive"})


def run(draft: Draft, context: StageContext, unpacked: Unpacked) -> str:
    """Write status, lists and checksums."""
    for deb in unpacked.debs:
        stem = f"{FOLDER}/info/{info_name(deb)}"
        moved = {one.path: one.to for one in unpacked.diversions if one.package != deb.name}
        listed = [name for name in dict.fromkeys(deb.names) if _is_there(name, draft, moved)]
        draft.file(f"{stem}.list", "".join(f"{name}\n" for name in listed))
        sums = deb.control_files.get("md5sums")
        if sums is not None:
            draft.file(f"{stem}.md5sums", _left(sums, draft, moved))
    draft.file(f"{FOLDER}/status", "\n".join(status(deb, draft) for deb in unpacked.debs))
    if unpacked.diversions:
        draft.file(
            f"{FOLDER}/diversions", "".join(f"/{one.path}\n/{one.to}\n{one.package}\n" for one in unpacked.diversions)
        )
    draft.file(f"{FOLDER}/arch-native", context.recipe.build.architecture + "\n")
    return f"{len(unpacked.debs)} packages"


def info_name(deb: Deb) -> str:
    """Return the stem of a package's files in `info/`: with its architecture where several may be installed."""
    if deb.control.get("Multi-Arch", "no") == "same":
        return f"{deb.name}:{deb.control.get('Architecture', '')}"
    return deb.name


def _is_there(name: str, draft: Draft, moved: Mapping[str, str]) -> bool:
    path = mergedusr.resolve(name.strip("/"))
    path = moved.get(path, path)
    return name == "/." or path in draft or (path.endswith(".py") and f"{path}c" in draft)


def _left(sums: bytes, draft: Draft, moved: Mapping[str, str]) -> bytes:
    lines = [
        (line, mergedusr.resolve(line.rstrip(b"\n")[34:].decode("utf-8", "replace")))
        for line in sums.splitlines(keepends=True)
    ]
    return b"".join(line for line, path in lines if moved.get(path, path) in draft)


def status(deb: Deb, draft: Draft) -> str:
    """Return a package's paragraph of `status`."""
    lines = [f"Package: {deb.name}", "Status: install ok installed"]
    for field, value in deb.control.items():
        if field not in _FOREIGN and field != "Package":
            lines.append(f"{field}: {value}" if not value.startswith("\n") else f"{field}:{value}")
        if field == "Version":
            lines += _conffiles(deb, draft)
    return "\n".join(lines) + "\n"


def _conffiles(deb: Deb, draft: Draft) -> list[str]:
    lines = []
    for name in deb.control_files.get("conffiles", b"").decode("utf-8", "replace").split("\n"):
        path = name.strip().lstrip("/")
        if path and not name.startswith("remove-on-upgrade ") and path in draft:
            digest = hashlib.md5(draft.read(path), usedforsecurity=False).hexdigest()
            lines.append(f" /{path} {digest}")
    return ["Conffiles:", *lines] if lines else []
