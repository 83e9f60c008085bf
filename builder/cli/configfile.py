"""A machine config that the user names: read, and refused where the machine would refuse it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from builder.errors import InputError, Place
from init.dialects.compile import compile_document

if TYPE_CHECKING:
    from pathlib import Path

    from init.formats.machine import Machine

_LARGEST = 1 << 20  # bytes


def read_config(path: Path) -> bytes:
    """Read a machine config; raise InputError where it can't be one."""
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", place=Place(file=str(path))) from error
    if len(data) > _LARGEST:
        raise InputError("a machine config has at most 1 MiB", place=Place(file=str(path)))
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
