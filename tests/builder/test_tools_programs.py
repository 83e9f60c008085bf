"""`berth tools` names every program that the builder starts, with the package that brings it."""

from __future__ import annotations

import ast
import contextlib
import json
import re
from pathlib import Path

import pytest

from builder.cli.context import Context
from builder.cli.inputs import Network, ready_tools
from builder.cli.main import main
from builder.fetch.store import Store
from builder.rootfs.archive import Bounds, ByteStream, expand, parts
from builder.rootfs.mergedusr import resolve
from builder.rootfs.tarread import members
from builder.stages import bytecode
from builder.tools.programs import PROGRAMS

ROOT = Path(__file__).parents[2]


def started() -> set[str]:
    """Return the first word of each call that starts a program of the tools tree, as the code has it."""
    found = set()
    for path in (ROOT / "builder").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                first = node.args[0]
                if node.func.attr in ("run", "argv") and isinstance(first, ast.Constant):
                    found.add(str(first.value))
    return found


def test_the_table_has_what_the_code_starts_and_nothing_else() -> None:
    assert started() | {bytecode._PYTHON} == set(PROGRAMS)
    assert list(PROGRAMS) == sorted(PROGRAMS)


@pytest.mark.packages
def test_each_package_brings_its_program_and_both_are_listed_first(capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.chdir(ROOT):
        context = Context.create(quiet=True, as_json=False)
        packages = {package.name: package for package in ready_tools(context, Network(heal=True)).packages}
        for program, name in PROGRAMS.items():
            paths = brought(context.store, packages[name].sha256, packages[name].size)
            assert paths & {f"usr/bin/{program}", f"usr/sbin/{program}"}, program
        assert main(["--quiet", "tools"]) == 0
        told = capsys.readouterr().out.splitlines()
        assert main(["--quiet", "tools", "--json"]) == 0
        fact = json.loads(capsys.readouterr().out)
    rows = [(name, package, packages[package].version) for name, package in PROGRAMS.items()]
    assert [(row["name"], row["package"], row["version"]) for row in fact["programs"]] == rows
    assert {row["name"]: row["version"] for row in fact["packages"]} == {
        package.name: package.version for package in packages.values()
    }
    for line, (name, package, version) in zip(told[1:], rows, strict=False):
        assert re.fullmatch(rf" +{re.escape(name)} +{re.escape(version)} +{re.escape(package)}", line)
    others = {line.split()[0] for line in told[len(rows) + 3 :]}
    assert others == packages.keys() - {package for _, package, _ in rows}


def brought(store: Store, sha256: str, size: int) -> set[str]:
    """Return the paths of a package's files, as the tools tree has them."""
    bounds, paths = Bounds(), set()
    with store.open(sha256) as stream:
        for part in parts(stream, size):
            if part.name.startswith("data.tar"):
                paths |= {
                    resolve(member.path) for member, _ in members(ByteStream(expand(stream, part, bounds)), bounds)
                }
    return paths
