"""Where artifacts are written: under a temporary name, sparse, synced, renamed, and told as a value."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from builder.errors import BuildError

CHUNK = 1 << 20
_ZEROS = bytes(CHUNK)


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact:
    """A finished file. `kind` is `iso`, `raw`, `qcow2`, `bundle`, `manifest` or `sbom`; size in bytes."""

    kind: str
    path: Path
    size: int
    sha256: str

    def to_json(self) -> dict[str, object]:
        """Return it as `berth build` prints it."""
        return {"kind": self.kind, "path": str(self.path.resolve()), "size": self.size, "sha256": self.sha256}


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading and writing that takes the name `path` only when everything went well.

    Raises BuildError where the folder cannot be written or is full; nothing half-written stays behind.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    _remove_leftovers(path)
    try:
        with part.open("w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.chmod(0o644)
        part.replace(path)
    except OSError as error:
        raise BuildError(
            f"{path} cannot be written: {error.strerror or error}",
            hint="choose another folder with --out, or make room",
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _remove_leftovers(path: Path) -> None:
    """Delete what killed builds left beside `path`: their process is gone."""
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        process = part.name.removeprefix(f".{path.name}.").removesuffix(".part")
        if process.isdecimal() and not Path(f"/proc/{process}").exists():
            part.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a small file whole."""
    with replacing(path) as file:
        file.write(data)


def copy_sparse(source: BinaryIO, target: BinaryIO, offset: int) -> int:
    """Copy `source` to byte `offset` of `target`, leaving holes for zeros; return how many bytes it was.

    `target` has to be long enough already and hold zeros there.
    """
    copied = 0
    while chunk := source.read(CHUNK):
        if chunk != _ZEROS[: len(chunk)]:
            target.seek(offset + copied)
            target.write(chunk)
        copied += len(chunk)
    return copied


def data_extents(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Give (start, end) in bytes of what the file system says is not a hole, ascending."""
    size = os.fstat(file.fileno()).st_size
    position = 0
    while position < size:
        try:
            start = os.lseek(file.fileno(), position, os.SEEK_DATA)
        except OSError:  # nothing but a hole is left
            return
        end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
        yield start, end
        position = end


def describe(kind: str, path: Path) -> Artifact:
    """Read a finished file once and return its size and hash; holes are hashed without being read."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        position = 0
        for start, end in data_extents(file):
            _hash_zeros(digest, start - position)
            file.seek(start)
            left = end - start
            while left:
                chunk = file.read(min(CHUNK, left))
                if not chunk:
                    raise BuildError(f"{path} became shorter while it was read")
                digest.update(chunk)
                left -= len(chunk)
            position = end
        size = os.fstat(file.fileno()).st_size
        _hash_zeros(digest, size - position)
    return Artifact(kind=kind, path=path, size=size, sha256=digest.hexdigest())


def _hash_zeros(digest: hashlib._Hash, count: int) -> None:
    for _ in range(count // CHUNK):
        digest.update(_ZEROS)
    digest.update(_ZEROS[: count % CHUNK])
