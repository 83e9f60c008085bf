"""Follow the imports of byte code. Runs as a program of its own in the tools tree's Python, whose byte code it is.

In and out are one JSON object each, on stdin and stdout:

    in   modules  {name: {"file": path, "form": "pyc" | "py" | "so", "package": bool}}
         roots    [name, …]      where to begin
         late     [prefix, …]    packages whose imports inside of functions are followed, too
         without  [name, …]      modules that the standard library's importers do without
         later    [name, …]      modules that nobody imports before the switch of roots
    out  found    [name, …]      modules of `modules` that are reached, their parent packages included, without those
                              that are frozen into the interpreter
         missing  {name: by}     modules that `late` packages import and that are nowhere

Outside of the `late` packages an import inside a function is not followed: the standard library has many for rare ends
(`os` → `subprocess`), and after the switch of roots they are found there.
"""

from __future__ import annotations

import _imp
import dis
import importlib.util
import inspect
import json
import marshal
import sys
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

BY_START = "the start of PID 1"
_HEADER = 16  # PEP 552: magic, flags, hash or time and size


def code_of(module: dict[str, Any]) -> CodeType | None:
    """Return a module's code object, None for an extension module."""
    if module["form"] == "so":
        return None
    data = Path(module["file"]).read_bytes()
    if module["form"] == "py":
        return compile(data, module["file"], "exec", dont_inherit=True)
    if data[:4] != importlib.util.MAGIC_NUMBER:
        raise SystemExit(f"{module['file']}: byte code of another Python than the tools tree's")
    code = marshal.loads(data[_HEADER:])  # noqa: S302 - byte code that this build made itself
    assert isinstance(code, CodeType)
    return code


def statements(code: CodeType, *, late: bool) -> Iterator[tuple[str, tuple[str, ...], int]]:
    """Yield (module, names, level) of each import statement; those inside of functions if `late`.

    What stands below `if TYPE_CHECKING:` is for type checkers, and never runs.
    """
    before: list[Any] = []
    asked, after = False, 0
    for instruction in dis.get_instructions(code):
        if instruction.opname == "EXTENDED_ARG" or instruction.offset < after:
            continue
        if asked and instruction.opname.startswith("POP_JUMP") and instruction.opname.endswith("IF_FALSE"):
            after = instruction.argval
        asked = instruction.argval == "TYPE_CHECKING" or (asked and instruction.opname == "TO_BOOL")
        if instruction.opname == "IMPORT_NAME":
            level, names = before[-2:]
            yield instruction.argval, tuple(names or ()), level
        before = [*before[-1:], instruction.argval]
    for constant in code.co_consts:
        if not isinstance(constant, CodeType):
            continue
        is_function = bool(constant.co_flags & inspect.CO_OPTIMIZED)  # a class body is not, and runs at once
        if late or not is_function:
            yield from statements(constant, late=late)


def targets(name: str, package: bool, statement: tuple[str, tuple[str, ...], int]) -> tuple[str, list[str]]:
    """Return the absolute module of a statement, and the modules that its names could be."""
    module, names, level = statement
    if level:
        base = name.split(".")
        base = base[: len(base) - level + (1 if package else 0)]
        module = ".".join([*base, module] if module else base)
    return module, [f"{module}.{attribute}" for attribute in names if attribute != "*"]


def alias_of(name: str) -> str | None:
    """Return the real name of a module that its package puts into sys.modules itself (`collections.abc`), else None."""
    try:
        module = importlib.import_module(name)
    except ImportError:
        return None
    return module.__name__ if module.__name__ != name else None


def scan(request: dict[str, Any]) -> dict[str, Any]:
    """Answer a request."""
    modules, without, later = request["modules"], set(request["without"]), set(request["later"])
    frozen = set(_imp._frozen_module_names())  # type: ignore[attr-defined]  # noqa: SLF001 - the only door
    present = {*sys.builtin_module_names, *frozen}
    found: set[str] = set()
    missing: dict[str, str] = {}
    todo = [(name, BY_START) for name in request["roots"]]
    while todo:
        name, by = todo.pop()
        if name in found | later or (name in without and not by.startswith(tuple(request["late"]))):
            continue
        found.add(name)
        parent = name.rpartition(".")[0]
        if parent:
            todo.append((parent, by))
        if name not in modules:
            real = name if name in present else alias_of(name)
            if real is not None:
                todo.append((real, by))
            elif by.startswith((*request["late"], BY_START)):
                missing.setdefault(name, by)
            continue
        code = code_of(modules[name])
        if code is None:
            continue
        late = name.startswith(tuple(request["late"]))
        for statement in statements(code, late=late):
            module, maybe = targets(name, modules[name]["package"], statement)
            todo.append((module, name))
            todo.extend((candidate, name) for candidate in maybe if candidate in modules)
    return {"found": sorted((found & set(modules)) - frozen), "missing": missing}


if __name__ == "__main__":
    json.dump(scan(json.load(sys.stdin)), sys.stdout)
