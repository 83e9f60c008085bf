"""Byte code in place of Python's sources: what `py3compile` and python3.13's postinst do, and smaller.

Each `NAME.py` of the standard library and of `dist-packages` becomes `NAME.pyc` beside where it stood, which Python
imports when there is no source. The sources go: an image is never edited, and reading both costs space and memory.
A trace still names file and line. A file that no Python of this version compiles stays as it is.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from builder.errors import BuildError, ToolError
from builder.rootfs import kept
from builder.rootfs.entry import Entry, Kind
from builder.rootfs.unpack import Unpacked
from builder.stages import compile_pyc
from builder.stages.context import StageContext
from builder.stages.draft import Draft

FOLDERS = ("usr/lib/python3.13/", "usr/lib/python3/dist-packages/", "usr/lib/python3.13/dist-packages/")
_PYTHON = "python3.13"
_SHARES = 2  # processes; fixed, though what they write does not depend on it


def run(draft: Draft, context: StageContext, unpacked: Unpacked) -> str:  # noqa: ARG001 - every stage's shape
    """Compile all modules that are left after exclusion."""
    sources = [
        node for node in draft
        if node.path.endswith(".py") and node.path.startswith(FOLDERS) and node.kind in (Kind.FILE, Kind.HARDLINK)
    ]  # fmt: skip
    compiled = compile_sources([(node.path, node.sha256) for node in sources], context)
    for node in sources:
        result = compiled[node.path]
        if result is not None:
            size, sha256 = result
            draft.remove(node.path)
            draft.put(
                Entry(path=node.path + "c", kind=Kind.FILE, mode=0o644, origin=node.origin, size=size, sha256=sha256)
            )
    left = [node.path for node in sources if compiled[node.path] is None]
    _follow_links(draft)
    return f"{len(sources) - len(left)} modules" + (f", {len(left)} left as source" if left else "")


def _follow_links(draft: Draft) -> None:
    """Let links to a source that became byte code lead to it (`sitecustomize.py`, `_sysconfigdata…`)."""
    for node in [*draft]:
        if node.kind is Kind.SYMLINK and node.path.startswith(FOLDERS) and node.path.endswith(".py"):
            folder = node.path.rpartition("/")[0]
            if node.target.endswith(".py") and f"{folder}/{node.target}c" in draft:
                draft.remove(node.path)
                draft.link(node.path + "c", node.target + "c")


def compile_sources(sources: Sequence[tuple[str, str]], context: StageContext) -> dict[str, tuple[int, str] | None]:
    """Return, by path, size and hash of the byte code of sources given as (path on the machine, SHA-256).

    None stands for a file that does not compile. What was compiled once is kept in the store.
    """
    ordered = sorted(sources)
    key = kept.key_of(
        kept.code(__file__, compile_pyc.__file__), context.tools.key, *(f"{path}\0{sha}" for path, sha in ordered)
    )
    known = kept.load(context.store, "bytecode", key)
    if known is None or not all(context.store.has(value[1]) for value in known.values() if value):
        known = _compile(ordered, context)
        kept.save(context.store, "bytecode", key, known)
    return {path: (value[0], value[1]) if value else None for path, value in known.items()}


def _compile(sources: Sequence[tuple[str, str]], context: StageContext) -> dict[str, tuple[int, str] | None]:
    scratch = context.store.scratch()
    try:
        jobs = [
            (scratch / f"{number}.pyc", _verified(context, sha256), path)
            for number, (path, sha256) in enumerate(sources)
        ]
        shares = [jobs[start::_SHARES] for start in range(_SHARES)]
        with contextlib.ExitStack() as running:
            started = [_start(share, context, scratch / f"share-{at}", running) for at, share in enumerate(shares)]
            for process in started:
                _finish(process)
        result: dict[str, tuple[int, str] | None] = {}
        for output, _, path in jobs:
            data = output.read_bytes() if output.exists() else b""
            result[path] = (len(data), context.store.put(data)) if data else None
        return result
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _verified(context: StageContext, sha256: str) -> Path:
    context.store.read(sha256)
    return context.store.path(sha256)


def _start(
    jobs: Sequence[tuple[Path, Path, str]], context: StageContext, listing: Path, running: contextlib.ExitStack
) -> subprocess.Popen[bytes]:
    """Start a compiler, which does not outlive `running`: of several one may fail, or Ctrl-C come."""
    # File names as the host has them: its locale may be another than the tools'.
    listing.write_bytes(os.fsencode("".join(f"{output}\t{source}\t/{path}\n" for output, source, path in jobs)))
    stream: IO[bytes]
    with listing.open("rb") as stream:
        process = subprocess.Popen(
            # Without columns: a trace names the line, and only its `^^^^` need more.
            context.tools.argv(
                _PYTHON, "-P", "-s", "-S", "-B", "-X", "utf8", "-X", "no_debug_ranges", str(compile_pyc.__file__)
            ),
            stdin=stream, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=context.tools.environment(),
        )  # fmt: skip
    running.enter_context(process)
    running.callback(process.kill)
    return process


def _finish(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate()
    if process.returncode:
        tail = errors.decode("utf-8", "replace").strip()[-2000:]
        raise ToolError(f"the tools tree's Python ended with status {process.returncode} while compiling:\n{tail}")


def must_compile(compiled: dict[str, tuple[int, str] | None]) -> dict[str, tuple[int, str]]:
    """Return the same, or raise BuildError where a file of our own does not compile."""
    broken = sorted(path for path, value in compiled.items() if value is None)
    if broken:
        raise BuildError(f"these files of Berth's own do not compile: {', '.join(itertools.islice(broken, 5))}")
    return {path: value for path, value in compiled.items() if value is not None}
