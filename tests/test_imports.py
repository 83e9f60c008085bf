"""Who may import whom, as one table; every file's syntax tree is walked, late imports included."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STANDARD = set(sys.stdlib_module_names)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What modules below `package` may import; `forbidden` takes away from the standard library."""

    package: str
    own: tuple[str, ...]
    others: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()  # packages that may be imported for their place, but nothing below them


RULES = (
    Rule(
        package="init.formats",
        own=("init.formats",),
        forbidden=("os", "socket", "subprocess", "ctypes", "time", "threading", "asyncio"),
    ),
    Rule(package="init.dialects", own=("init.formats", "init.dialects"), others=("yaml",)),
    Rule(
        package="init.pid1",
        own=("init.formats", "init.pid1", "init.containers", "init.light", "init.lightjson"),
        forbidden=("subprocess", "asyncio", "threading"),
    ),
    Rule(package="init.containers", own=("init.formats", "init.containers")),
    Rule(
        package="init.installer",
        own=("init.formats", "init.blockdevice", "init.dialects", "init.installer"),
    ),
    Rule(package="init.blockdevice", own=("init.blockdevice",)),
    Rule(package="init.updater", own=("init.formats", "init.blockdevice", "init.updater"), others=("tuf",)),
    Rule(package="init.rescue", own=("init.formats", "init.dialects", "init.pid1", "init.rescue")),
    Rule(package="init.berthctl", own=("init.formats", "init.berthctl")),
    Rule(
        package="builder",
        own=("builder", "init.formats", "init.dialects", "init.berthctl.main"),
        alone=("init",),
        others=(
            "backports",
            "compression",
            "cryptography",
            "elftools",
            "jinja2",
            "pycdlib",
            "pysequoia",
            "requests",
            "rich",
            "securesystemslib",
            "truststore",
            "tuf",
            "urllib3",
            "yaml",
        ),
    ),
)

# Steps of a build, left to right: a step imports only steps to its left, `cli` and what stands beside it import all.
STEPS = (
    "errors", "progress", "steps", "recipe", "fetch", "rootfs", "tools", "lock", "images", "stages", "image", "grub",
    "artifact", "repository", "emulate",
)  # fmt: skip
# A step's output as a plain value, and pure rules over it: whoever takes it in may name them.
VALUES = ("builder.lock.model", "builder.lock.select", "builder.lock.depends", "builder.lock.version")


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Yield each imported name, dotted, and its line; relative imports do not exist here."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            assert node.module
            if node.module in ("init", "builder", "init.pid1"):
                for alias in node.names:
                    yield f"{node.module}.{alias.name}", node.lineno
            else:
                yield node.module, node.lineno


def below(name: str, packages: tuple[str, ...]) -> bool:
    """Say whether a dotted name is one of the packages or inside one."""
    return any(name == package or name.startswith(package + ".") for package in packages)


def is_allowed(name: str, rule: Rule) -> bool:
    """Decide one import."""
    if below(name, rule.forbidden):
        return False
    return name.split(".", maxsplit=1)[0] in STANDARD or name in rule.alone or below(name, rule.own + rule.others)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.package)
def test_packages_import_only_what_the_table_allows(rule: Rule) -> None:
    paths = sorted((ROOT / rule.package.replace(".", "/")).rglob("*.py"))
    assert paths
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in paths
        for name, line in imports(path)
        if not is_allowed(name, rule)
    ]
    assert not wrong, "\n".join(wrong)


def test_steps_import_only_steps_to_their_left() -> None:
    wrong = []
    for position, step in enumerate(STEPS):
        start = ROOT / "builder" / step
        left = tuple(f"builder.{name}" for name in STEPS[: position + 1]) + VALUES
        for path in sorted(start.rglob("*.py")) if start.is_dir() else [start.with_suffix(".py")]:
            for name, line in imports(path):
                if below(name, ("builder",)) and not below(name, left):
                    wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_no_module_is_a_drawer_for_everything() -> None:
    own = ("builder", "init", "tests", "qemu-tests")
    names = {path.stem for folder in own for path in (ROOT / folder).rglob("*.py")}
    assert not names & {"utils", "util", "helpers", "common", "constants", "manager", "misc"}
