"""Images whose layers try to reach out of the folder that they are unpacked into, as archives that an engine loads.

Each tries to change `VICTIM`, a folder of the machine, or to leave a file whose name begins with `PLANTED` in it.
"""

from __future__ import annotations

import io
import tarfile

from privateregistry import archive_of

VICTIM = "/var/lib/victim"
PLANTED = "planted"
_UP = "../" * 24
_INSIDE = VICTIM[1:]


def _member(name: str, kind: bytes = tarfile.REGTYPE, *, mode: int = 0o644, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname = kind, mode, link
    return info


def _device(name: str, kind: bytes, major: int, minor: int) -> tarfile.TarInfo:
    info = _member(name, kind, mode=0o666)
    info.devmajor, info.devminor = major, minor
    return info


def _layer(*members: tarfile.TarInfo) -> bytes:
    """Return a layer; every plain file in it says `PLANTED`."""
    data = f"{PLANTED}\n".encode()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for info in members:
            info.size = len(data) if info.type == tarfile.REGTYPE else 0
            archive.addfile(info, io.BytesIO(data) if info.size else None)
    return out.getvalue()


LAYERS = {
    "absolute name": _layer(_member(f"{VICTIM}/{PLANTED}-absolute")),
    "name that goes up": _layer(_member(f"{_UP}{_INSIDE}/{PLANTED}-up")),
    "through a link out": _layer(
        _member("out", tarfile.SYMTYPE, link=VICTIM), _member(f"out/{PLANTED}-through"),
    ),
    "through a link that goes up": _layer(
        _member("out", tarfile.SYMTYPE, link=f"{_UP}{_INSIDE}"), _member(f"out/{PLANTED}-relative"),
    ),
    "hard link out": _layer(_member("hard", tarfile.LNKTYPE, link=f"{_UP}{_INSIDE}/mine", mode=0o6777)),
    "hard link out, and a file over it": _layer(
        _member("hard", tarfile.LNKTYPE, link=f"{_UP}{_INSIDE}/mine"), _member("hard", mode=0o6777),
    ),
    "setuid through a link": _layer(
        _member("file", tarfile.SYMTYPE, link=f"{VICTIM}/mine"),
        _member("set", tarfile.LNKTYPE, link="file", mode=0o6777),
    ),
    "folder over a link": _layer(
        _member("out", tarfile.SYMTYPE, link=VICTIM), _member("out", tarfile.DIRTYPE, mode=0o6777),
    ),
    "whiteout through a link": _layer(
        _member("out", tarfile.SYMTYPE, link=VICTIM), _member("out/.wh.mine"), _member(f"{_UP}{_INSIDE}/.wh.mine")
    ),
    "devices": _layer(_device("console", tarfile.CHRTYPE, 5, 1), _device("disk", tarfile.BLKTYPE, 254, 0)),
    "device, and a file over it": _layer(_device("console", tarfile.CHRTYPE, 5, 1), _member("console")),
}  # fmt: skip
ARCHIVES = {name: archive_of(layer, Cmd=["/none"]) for name, layer in LAYERS.items()}
