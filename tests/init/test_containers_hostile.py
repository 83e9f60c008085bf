"""Layers that no tool would write: generated names and kinds, holes, sizes, depths. None reaches out of its folder."""

from __future__ import annotations

import gzip
import io
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest
from fakes.layers import member, sha, tar
from hypothesis import given, settings
from hypothesis import strategies as st

from init.containers.unpack import UnpackError, unpack

# a layer is unpacked by a fork: Python 3.12 warns of one beside threads
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

NAMES = st.sampled_from(
    ["a", "b", "a/b", "a/b/c", "../OUT", "/a", "./a", "OUTSIDE", ".wh.a", "a/.wh.b", "a/.wh..wh..opq", ".wh...", ""]
)
KINDS = st.sampled_from(
    [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, b"x", b"Z"]
)
NUMBERS = st.sampled_from([0, 1, 1 << 31, 1 << 63, 1 << 70])
MEMBERS = st.builds(
    lambda name, kind, target, data, mode, number: member(
        name, kind, data if kind == tarfile.REGTYPE else b"", linkname=target, mode=mode, uid=number, mtime=number
    ),
    NAMES, KINDS, NAMES | st.just(".."), st.binary(max_size=20), st.integers(0, 0o7777), NUMBERS,
)  # fmt: skip


def into(folder: Path, layer: bytes) -> None:
    """Unpack a layer into a new folder."""
    folder.mkdir()
    unpack(io.BytesIO(layer), str(folder), digest=f"sha256:{sha(layer)}", size=len(layer), diff_id=sha(layer))


def refusal(folder: Path, layer: bytes) -> str:
    """Return why a layer was refused, "" where it was unpacked."""
    try:
        into(folder, layer)
    except UnpackError as error:
        return str(error) or "?"
    return ""


def state_of(folder: Path) -> list[tuple[str, tuple[int, ...], bytes]]:
    """Return all that could have been changed."""
    found = []
    for path in [folder, *sorted(folder.rglob("*"))]:
        status = path.lstat()
        facts = (status.st_mode, status.st_nlink, status.st_mtime_ns, status.st_uid)
        found.append((str(path), facts, path.read_bytes() if path.is_file() else b""))
    return found


@pytest.mark.long
@settings(max_examples=80, deadline=None)
@given(st.lists(MEMBERS, max_size=6))
def test_no_layer_reaches_out(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    """Whatever stands in it: it is unpacked within its folder, or refused with a reason."""
    with tempfile.TemporaryDirectory() as folder:
        outside = Path(folder, "outside")
        outside.mkdir()
        (outside / "secret").write_bytes(b"mine")
        changed = []
        for info, data in members:
            copy = member(info.name, info.type, mode=info.mode, uid=info.uid, mtime=info.mtime, size=info.size)[0]
            copy.name = info.name.replace("OUTSIDE", f"{outside}/secret")
            copy.linkname = info.linkname.replace("OUTSIDE", f"{outside}/secret")
            changed.append((copy, data))
        before = state_of(outside)
        assert "ended with" not in refusal(Path(folder, "x"), tar(*changed))  # a reason, and not the end of a process
        assert state_of(outside) == before
        assert sorted(path.name for path in Path(folder).iterdir()) == ["outside", "x"]
        # what nobody may look into has to be taken away all the same
        subprocess.run(("chmod", "-R", "u+rwx", folder), check=False)


def sparse(size: int, *data: tuple[int, bytes]) -> bytes:
    """Return a tar with one file of GNU's sparse format 1.0, with data at some offsets."""
    content = b"".join(piece for _, piece in data)
    numbers = [len(data), *(number for offset, piece in data for number in (offset, len(piece)))]
    text = "".join(f"{number}\n" for number in numbers).encode()
    body = text.ljust(-(-len(text) // 512) * 512, b"\0") + content
    headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "holes"}
    return tar(member("GNUSparseFile.0/holes", data=body, pax_headers={**headers, "GNU.sparse.realsize": str(size)}))


def test_a_sparse_file_keeps_its_holes(tmp_path: Path) -> None:
    """A gigabyte of nothing, which takes neither the disk nor the time of one."""
    into(tmp_path / "x", sparse(1 << 30, (0, b"begin"), (1 << 29, b"middle")))
    status = (tmp_path / "x/holes").stat()
    assert (status.st_size, status.st_blocks < 100) == (1 << 30, True)
    with (tmp_path / "x/holes").open("rb") as file:
        assert file.read(5) == b"begin"
        file.seek(1 << 29)
        assert file.read(6) == b"middle"


@pytest.mark.parametrize(
    "layer",
    [
        sparse(1 << 70, (0, b"x")),
        sparse(10, (20, b"x"), (0, b"y")),
        sparse(-5, (0, b"x")),
        tar(member("x", pax_headers={"size": str(1 << 60)})),
        tar(member("x", pax_headers={"comment": "x" * (1 << 20)}))[:700],
        tar(member("/".join("d" * 1900), tarfile.DIRTYPE)),
    ],
    ids=["larger than any file", "backwards", "negative", "more than there is", "cut off", "deeper than Python goes"],
)
def test_what_no_tool_writes_is_refused_or_unpacked(tmp_path: Path, layer: bytes) -> None:
    assert "ended with" not in refusal(tmp_path / "x", layer)


@pytest.mark.long
def test_a_header_of_a_gigabyte_is_no_gigabyte_of_memory(tmp_path: Path) -> None:
    """It is stated in a few compressed bytes, and a reader of tars holds each header as a whole."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 30
    zeros = gzip.compress(b"\0" * (1 << 20), 1)
    raw = gzip.compress(info.tobuf(tarfile.GNU_FORMAT)) + zeros * 1024
    (tmp_path / "x").mkdir()
    with pytest.raises(UnpackError, match="MemoryError"):
        unpack(io.BytesIO(raw), str(tmp_path / "x"), digest="", size=len(raw), diff_id="0" * 64)
