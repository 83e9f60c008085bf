"""The root's file system: EROFS, made by `mkfs.erofs` from a tar stream, so that nothing is extracted as root."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from builder.errors import BuildError
from builder.recipe.patterns import compile_glob

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from uuid import UUID

    from builder.recipe.model import Compression

WORKERS = 4  # fixed: mkfs.erofs places data differently with another number


_UNUSUAL = re.compile(r"[^A-Za-z0-9/_-]")  # letters that a regular expression or a blank would mean otherwise


class Runner(Protocol):
    """What of the tools tree is needed here."""

    def run(
        self,
        tool: str,
        *arguments: str,
        input: BinaryIO | None = None,  # noqa: A002 - its name there
        output: Path | None = None,
    ) -> bytes:
        """Run a tool that writes `output` and return what it printed; raise ToolError, or OSError for a full disk."""


def options(compression: Compression, *, uuid: UUID, epoch: int) -> list[str]:
    """Return mkfs.erofs's options. Raises BuildError for an algorithm that it doesn't have."""
    how: list[str] = []
    if compression.algorithm != "none":
        words = [_algorithm(compression.algorithm, compression.level, compression.cluster)]
        for name in _algorithms(compression)[1:]:
            hot = [each for each in compression.hot if each.algorithm == name]
            cluster = max(each.cluster for each in hot)
            word = _algorithm(name, hot[0].level, cluster)
            if name == "zstd":
                word += f",dictsize={cluster}"  # else a mounted root keeps MiBs for its window
            words.append(word)
        how = [f"-z{':'.join(words)}", f"-C{compression.cluster}"]
    if compression.algorithm == "lzma":
        # Ends of files go beside their inodes: 4 % fewer bytes, where size comes first; with zstd it doubles the
        # time. Never `fragments`, which packs the ends of all files together: one changed file would then change
        # the blocks of many, and an update fetch them all.
        how.append("-Eztailpacking")
    return ["--tar=f", "--quiet", f"-T{epoch}", f"-U{uuid}", f"--workers={WORKERS}", *how]


def _algorithms(compression: Compression) -> tuple[str, ...]:
    """Return the image's algorithms, each once, that of the rest first: an image has one level for each."""
    return tuple(dict.fromkeys([compression.algorithm, *(hot.algorithm for hot in compression.hot)]))


def _algorithm(name: str, level: int, cluster: int) -> str:
    match name:
        case "zstd" | "lz4hc":
            return f"{name},level={level}"
        case "lzma":
            # The kernel keeps a dictionary for each processor as long as the root is mounted. By default it has four
            # times a cluster's size; one of a cluster's costs 0.3 % of the image and gives 0.8 MiB a processor back.
            return f"{name},level={level},dictsize={cluster}"
        case other:
            raise BuildError(f"EROFS has no compression `{other}`", hint="take zstd, lzma, lz4hc or none")


def hints(compression: Compression, names: Iterable[tuple[str, str]]) -> str:
    """Return the lines that have mkfs.erofs compress the hot ones among the root's files in their own way.

    `names` are pairs: a file's name, and the one that its bytes come under in the stream; for hard links they differ.
    A line is: bytes of a cluster, number of the algorithm among those of `-z`, an extended regular expression without
    blanks (mkfs.erofs(1), `--compress-hints`).
    """
    if compression.algorithm == "none":
        return ""
    pairs = tuple(names)
    numbers = {name: number for number, name in enumerate(_algorithms(compression))}
    how: dict[str, str] = {}
    for hot in compression.hot:
        patterns = [compile_glob(pattern) for pattern in hot.paths]
        for name, path in pairs:
            if path not in how and any(pattern.fullmatch(f"/{name}") for pattern in patterns):
                how[path] = f"{hot.cluster} {numbers[hot.algorithm]}"
    return "".join(f"{words} ^./{_UNUSUAL.sub('.', path)}$\n" for path, words in sorted(how.items()))


def make(
    image: Path,
    runner: Runner,
    write_tar: Callable[[BinaryIO], None],
    *,
    compression: Compression,
    uuid: UUID,
    epoch: int,
    names: Iterable[tuple[str, str]] = (),
) -> None:
    """Write an EROFS image of the tar stream that `write_tar` produces; its size is a multiple of 4 KiB.

    `names` are those of the files in the stream, as `hints` takes them, to find the hot ones.
    Raises ToolError where mkfs fails, OSError where the disk is full, and whatever `write_tar` raises.
    """
    arguments = options(compression, uuid=uuid, epoch=epoch)
    hot = hints(compression, names)
    if hot:
        arguments.append(f"--compress-hints={image}.hints")
        Path(f"{image}.hints").write_text(hot, encoding="ascii")
    arguments.append(str(image))
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
            runner.run("mkfs.erofs", *arguments, input=stream, output=image)
    finally:
        Path(f"{image}.hints").unlink(missing_ok=True)
        producer.join()
        if failure:
            raise failure[0]
