"""Layers made to hurt, really unpacked: nothing outside is touched, and what was promised is checked."""

import contextlib
import gzip
import io
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
from fakes.layers import member, sha, tar

from init.containers.unpack import UnpackError, unpack

ROOT = Path(__file__).parents[2]
# the registry of these tests is a thread, and a layer is unpacked by a fork: Python 3.12 warns of any such pair
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def into(folder: Path, layer: bytes, raw: bytes | None = None, **changed: Any) -> None:
    """Unpack a layer into a new folder."""
    folder.mkdir()
    raw = layer if raw is None else raw
    arguments: dict[str, Any] = {"digest": f"sha256:{sha(raw)}", "size": len(raw), "diff_id": sha(layer), **changed}
    unpack(io.BytesIO(raw), str(folder), **arguments)


# --- one layer -------------------------------------------------------------------------------------------------


def test_a_layer_becomes_files(tmp_path: Path) -> None:
    layer = tar(
        member("d/", tarfile.DIRTYPE, mode=0o750, mtime=1000),
        member("d/f", data=b"hello", mode=0o4755, mtime=2000),
        member("d/h", tarfile.LNKTYPE, linkname="d/f"),
        member("l", tarfile.SYMTYPE, linkname="/etc/passwd"),
        member("p", tarfile.FIFOTYPE),
        member("new/deep/x", data=b"1"),
    )
    into(tmp_path / "x", layer, gzip.compress(layer))
    root = tmp_path / "x"
    assert (root / "d/f").read_bytes() == b"hello"
    assert (root / "d/f").stat().st_mode & 0o7777 == 0o4755
    assert (root / "d/f").stat().st_mtime == 2000
    assert (root / "d").stat().st_mtime == 1000
    assert (root / "d").stat().st_mode & 0o7777 == 0o750
    assert (root / "d/h").samefile(root / "d/f")
    assert (root / "l").readlink() == Path("/etc/passwd")
    assert (root / "p").is_fifo()
    assert (root / "new/deep/x").read_bytes() == b"1"


HOSTILE: dict[str, tuple[tuple[tarfile.TarInfo, bytes], ...]] = {
    "a name that climbs out": (member("../OUT", data=b"x"),),
    "one in the middle": (member("a/../../OUT", data=b"x"),),
    "a file below a link out": (member("l", tarfile.SYMTYPE, linkname="OUTSIDE"), member("l/OUT", data=b"x")),
    "a file through a link out": (member("l", tarfile.SYMTYPE, linkname="OUTSIDE/OUT"), member("l", data=b"x")),
    "a folder through a link out": (
        member("l", tarfile.SYMTYPE, linkname="OUTSIDE"),
        member("l", tarfile.DIRTYPE, mode=0o777),
        member("l/OUT", data=b"x"),
    ),
    "a hard link out": (member("h", tarfile.LNKTYPE, linkname="OUTSIDE/secret"), member("h", data=b"x")),
    "a hard link through a link": (
        member("l", tarfile.SYMTYPE, linkname="OUTSIDE"),
        member("h", tarfile.LNKTYPE, linkname="l/secret"),
    ),
    "a whiteout through a link": (member("l", tarfile.SYMTYPE, linkname="OUTSIDE"), member("l/.wh.secret")),
    "an opaque mark through a link": (member("l", tarfile.SYMTYPE, linkname="OUTSIDE"), member("l/.wh..wh..opq")),
    "a device": (member("d", tarfile.CHRTYPE, devmajor=1, devminor=1),),
    "a disk": (member("d", tarfile.BLKTYPE, devmajor=8),),
    "set-uid through a link": (
        member("l", tarfile.SYMTYPE, linkname="OUTSIDE/secret"),
        member("l", tarfile.LNKTYPE, linkname="l", mode=0o4777),
    ),
}


def state_of(folder: Path) -> dict[str, Any]:
    found = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        status = path.lstat()
        data = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (status.st_mode, status.st_nlink, status.st_mtime, status.st_uid, data)
    return found


@pytest.mark.parametrize("members", HOSTILE.values(), ids=HOSTILE.keys())
def test_nothing_outside_is_touched(tmp_path: Path, members: tuple[tuple[tarfile.TarInfo, bytes], ...]) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"mine")
    changed = []
    for info, data in members:
        info = tarfile.TarInfo.frombuf(info.tobuf(), "utf-8", "strict")  # noqa: PLW2901 - a copy to change
        info.name = info.name.replace("OUTSIDE", str(outside))
        info.linkname = info.linkname.replace("OUTSIDE", str(outside))
        changed.append((info, data))
    before = state_of(outside), sorted(path.name for path in tmp_path.iterdir())
    with contextlib.suppress(UnpackError):  # refused is as good as confined
        into(tmp_path / "x", tar(*changed))
    after = state_of(outside), sorted(path.name for path in tmp_path.iterdir() if path.name != "x")
    assert after == before


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"digest": f"sha256:{'0' * 64}"}, "not those of"),
        ({"size": 7}, "larger than"),
        ({"size": 1 << 20}, "not the 1048576"),
        ({"diff_id": "0" * 64}, "not what the image's configuration names"),
    ],
)
def test_other_bytes_than_promised(tmp_path: Path, changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnpackError, match=reason):
        into(tmp_path / "x", tar(member("a", data=b"1")), **changed)


@pytest.mark.parametrize("cut", [1, 100, 700])
def test_a_cut_off_stream_is_said(tmp_path: Path, cut: int) -> None:
    layer = tar(member("a", data=os.urandom(5000)))
    raw = gzip.compress(layer)
    with pytest.raises(UnpackError):
        into(tmp_path / "x", layer, raw[:-cut])


def test_whiteouts_are_what_overlayfs_reads(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    into(folder, tar(member("d", tarfile.DIRTYPE), member("d/.wh.gone"), member("top"), member(".wh.top")))
    for path in ("d/gone", "top"):
        status = (folder / path).lstat()
        assert (status.st_mode & 0o170000, status.st_rdev) == (0o020000, 0)
