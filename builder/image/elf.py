"""Which shared libraries a program needs, found by reading ELF files as the dynamic loader would."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.segments import InterpSegment

from builder.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from builder.image.treeview import TreeView

# glibc's own order on Debian amd64 when there is no cache; ld.so(8).
FOLDERS = ("usr/lib/x86_64-linux-gnu", "usr/lib", "usr/lib64")


def needs(data: bytes) -> tuple[str | None, tuple[str, ...]]:
    """Return a file's interpreter (None where it names none) and the names of the libraries it needs.

    Raises ValueError where the bytes are no ELF file.
    """
    try:
        elf = ELFFile(io.BytesIO(data))
        interpreter: str | None = None
        libraries: list[str] = []
        for segment in elf.iter_segments():
            if isinstance(segment, InterpSegment):
                interpreter = str(segment.get_interp_name())
            elif isinstance(segment, DynamicSegment):
                tags: Iterator[Any] = segment.iter_tags("DT_NEEDED")
                libraries.extend(str(tag.needed) for tag in tags)
    except ELFError as error:
        raise ValueError(f"not an ELF file: {error}") from error
    return interpreter, tuple(libraries)


def closure(view: TreeView, paths: Iterable[str]) -> tuple[str, ...]:
    """Return the paths of everything that must be there for these files to be loaded, themselves included, sorted.

    Raises BuildError where a library is not in the tree.
    """
    found: set[str] = set()
    todo = list(paths)
    while todo:
        path = todo.pop()
        if path in found:
            continue
        found.add(path)
        try:
            interpreter, libraries = needs(view.read(path))
        except ValueError as error:
            raise BuildError(f"/{path}: {error}") from error
        if interpreter is not None:
            todo.append(interpreter.lstrip("/"))
        todo.extend(_library(view, name, path) for name in libraries)
    return tuple(sorted(found))


def _library(view: TreeView, name: str, wanted_by: str) -> str:
    for folder in FOLDERS:
        if view.find(f"{folder}/{name}") is not None:
            return f"{folder}/{name}"
    raise BuildError(
        f"/{wanted_by} needs {name}, which the root tree lacks",
        hint="add the package that holds it to build.packages, or take its path out of build.exclude",
    )
