"""The root's file system: EROFS, made by `mkfs.erofs` from a tar stream, so that nothing is extracted as root."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, BinaryIO, Protocol

from builder.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from uuid import UUID

    from builder.recipe.model import Compression

WORKERS = 4  # fixed: mkfs.erofs places data differently with another number


class Runner(Protocol):
    """What of the tools tree is needed here."""

    def run(self, tool: str, *arguments: str, input: BinaryIO | None = None) -> bytes:  # noqa: A002 - its name there
        """Run a tool and return what it printed; raise ToolError."""


def options(compression: Compression, *, uuid: UUID, epoch: int) -> list[str]:
    """Return mkfs.erofs's options. Raises BuildError for an algorithm that it doesn't have."""
    match compression.algorithm:
        case "none":
            how: list[str] = []
        case "zstd" | "lz4hc" as algorithm:
            how = [f"-z{algorithm},level={compression.level}", f"-C{compression.cluster}"]
        case "lzma":
            # The kernel keeps a dictionary for each processor as long as the root is mounted. By default it has four
            # times a cluster's size; one of a cluster's costs 0.3 % of the image and gives 0.8 MiB a processor back.
            how = [f"-zlzma,level={compression.level},dictsize={compression.cluster}", f"-C{compression.cluster}"]
            # Ends of files go beside their inodes: 4 % fewer bytes, where size comes first; with zstd it doubles the
            # time. Never `fragments`, which packs the ends of all files together: one changed file would then change
            # the blocks of many, and an update fetch them all.
            how.append("-Eztailpacking")
        case other:
            raise BuildError(f"EROFS has no compression `{other}`", hint="take zstd, lzma, lz4hc or none")
    return ["--tar=f", "--quiet", f"-T{epoch}", f"-U{uuid}", f"--workers={WORKERS}", *how]


def make(
    image: Path,
    runner: Runner,
    write_tar: Callable[[BinaryIO], None],
    *,
    compression: Compression,
    uuid: UUID,
    epoch: int,
) -> None:
    """Write an EROFS image of the tar stream that `write_tar` produces; its size is a multiple of 4 KiB.

    Raises ToolError where mkfs fails, and whatever `write_tar` raises.
    """
    arguments = [*options(compression, uuid=uuid, epoch=epoch), str(image)]
    reader, writer = os.pipe()
    failure: list[BaseException] = []

    def produce() -> None:
        try:
            with os.fdopen(writer, "wb") as out:
                try:
                    write_tar(out)
                except BrokenPipeError:
                    raise
                except BaseException as error:  # handed to the caller's thread below
                    failure.append(error)
                    # mkfs.erofs 1.8 reads for ever where a stream ends within a file. Zeros end the archive.
                    while True:
                        out.write(bytes(1 << 16))
        except BrokenPipeError:
            pass  # mkfs ended: early, and it says why, or after the zeros

    producer = threading.Thread(target=produce, name="tar", daemon=True)
    producer.start()
    try:
        with os.fdopen(reader, "rb") as stream:
            runner.run("mkfs.erofs", *arguments, input=stream)
    finally:
        producer.join()
        if failure:
            raise failure[0]
