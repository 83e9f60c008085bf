"""A machine config that the user names: read, and refused where the machine would refuse it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from builder.errors import READABLE, InputError, Place
from init.dialects.compile import compile_document
from init.dialects.position import LARGEST

if TYPE_CHECKING:
    from pathlib import Path

    from init.formats.machine import Machine

STANDARD_INPUT = "standard input"
_SMALLER = "leave large files out of it: `write_files` takes them from an address, or bake them in with `build.files`"


def read_config(path: Path) -> bytes:
    """Read a machine config; raise InputError where it can't be one. The bound is the machine's own."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", hint=READABLE, place=Place(file=str(path))) from error
    if len(data) > LARGEST:
        raise InputError(
            f"a machine config has at most {LARGEST >> 20} MiB", hint=_SMALLER, place=Place(file=str(path))
        )
    return data


def read_standard_input() -> bytes:
    """Read a machine config from standard input; raise InputError where it can't be one."""
    data = sys.stdin.buffer.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise InputError(
            f"a machine config has at most {LARGEST >> 20} MiB", hint=_SMALLER, place=Place(file=STANDARD_INPUT)
        )
    return data


def checked(data: bytes, path: Path, *, default: bytes | None) -> Machine:
    """Return the machine that a config laid over an image's own `default` makes, its warnings shown.

    Raise InputError for what the machine would refuse, after showing why.
    """
    compiled = compile_document(data, file=str(path), default=default)
    for each in compiled.diagnostics:
        print(each, file=sys.stderr)
    if compiled.machine is None:
        raise InputError(
            "the machine would refuse this config", place=Place(file=str(path)), hint=f"berth check {path}"
        )
    return compiled.machine
