"""From a recipe's file to a `Recipe`: found, read, merged with what it extends, checked."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from builder.errors import READABLE, Place, RecipeError
from builder.recipe.diagnose import RecipeErrors
from builder.recipe.make import is_absent, make_build
from builder.recipe.model import Recipe
from builder.recipe.schema import RECIPE
from builder.recipe.sets import tree
from init.dialects.compile import compile_tree
from init.dialects.diagnostic import Diagnostic, Report, Unreadable
from init.dialects.diagnostic import Place as NodePlace
from init.dialects.merge import REPLACE, merge
from init.dialects.position import Mapping, Node, Scalar, is_null, parse, plain_value
from init.dialects.shape import INVALID
from init.dialects.text import decode
from init.formats.offer import NAME

SHIPPED = Path(__file__).resolve().parents[2] / "recipes"
_LONGEST_CHAIN = 8
_TITLE = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"


def load(name_or_path: str | Path, sets: Sequence[str] = (), *, recipes: Path | None = None) -> Recipe:
    """Return the recipe of that name or path, with `--set` applied.

    A name is looked for in `recipes` (by default `./recipes`), then among the shipped ones; with `/` or `.yaml` it is
    a path. Raise RecipeErrors with everything that is wrong, RecipeError where there is no such recipe, and UsageError
    for a wrong `--set`.
    """
    path = find(name_or_path, recipes)
    report = Report()
    node, whole = _read_chain(path, recipes, report, ())
    for assignment in sets:
        over = tree(assignment)
        node = _merge_recipes(node, over, concatenate=False)
    _check_name(path, node, report)
    fields = RECIPE.read(node, "", report)
    if fields is INVALID:
        raise RecipeErrors(report.all())
    build = None
    if "build" in fields and whole:
        build = make_build(fields.get("build"), report)
    elif whole and is_absent(fields, "build"):
        report.error(node.place, "", "the key `build` is missing", code="missing")
    machine = fields.get("machine") or Mapping((), NodePlace(str(path)))
    if not isinstance(machine, Mapping):
        report.error(machine.place, "machine", "expected a map", code="type")
    if build is None or report.errors or not isinstance(machine, Mapping):
        raise RecipeErrors(_with_machine(report, machine))
    place = _place_of(machine)
    return Recipe(
        name=path.stem,
        path=path,
        given=str(name_or_path),
        sets=tuple(sets),
        build=build,
        machine=plain_value(machine),
        machine_place=place,
        machine_node=machine,
        suite_place=_place_of(node, "build", "suite"),
    )


def _check_name(path: Path, node: Node, report: Report) -> None:
    """A recipe's name is its file's: part of artifacts' names, of GRUB's title and, without `class`, of the class."""
    build = node.get("build") if isinstance(node, Mapping) else None
    has_class = isinstance(build, Mapping) and build.get("class") is not None
    if not re.fullmatch(_TITLE if has_class else NAME, f"{path.stem}-amd64"):
        report.error(
            NodePlace(str(path)), "", f"`{path.stem}` can't be a recipe's name", code="value",
            hint="rename the file: small letters, digits, `.`, `_` and `-`, at most 58",
        )  # fmt: skip


def _place_of(node: Node, *keys: str) -> Place:
    """Return where the value of a key stands that is known to be there."""
    for key in keys:
        assert isinstance(node, Mapping)
        value = node.get(key)
        assert value is not None
        node = value
    return Place(file=node.place.file, line=node.place.line, column=node.place.column)


def find(name_or_path: str | Path, recipes: Path | None = None) -> Path:
    """Return the file of a recipe; raise RecipeError that lists what there is."""
    text = str(name_or_path)
    folders = [recipes if recipes is not None else Path("recipes"), SHIPPED]
    if isinstance(name_or_path, Path) or _is_path(text):
        path = Path(name_or_path)
        if not path.is_file():
            raise RecipeError(f"{path}: there is no such recipe file", hint=_near(path.stem, folders))
        return path
    for folder in folders:
        path = folder / f"{text}.yaml"
        if path.is_file():
            return path
    raise RecipeError(f"there is no recipe of the name {text}", hint=_near(text, folders))


def _is_path(text: str) -> bool:
    return "/" in text or text.endswith((".yaml", ".yml"))


def _near(name: str, folders: Sequence[Path]) -> str:
    """Return the cure of a recipe's name that is none."""
    known = sorted({each.stem for folder in folders if folder.is_dir() for each in folder.glob("*.yaml")})
    there = f"there are: {', '.join(known) or 'none'}"
    close = difflib.get_close_matches(name, known, n=1)
    return f"{close[0]} ({there})" if close else there


def _with_machine(report: Report, machine: Node) -> tuple[Diagnostic, ...]:
    """Return the findings, those in the machine half too: people mend a file once."""
    if isinstance(machine, Mapping):
        for each in compile_tree(machine).diagnostics:
            report.add(each)
    return report.all()


def _read_chain(path: Path, recipes: Path | None, report: Report, seen: tuple[Path, ...]) -> tuple[Node, bool]:
    """Return a recipe's tree with all that it extends beneath it, and whether that could be found."""
    node = _read_file(path, report)
    extends = node.get("extends") if isinstance(node, Mapping) else None
    if not isinstance(extends, Scalar) or is_null(extends):
        return node, True
    chain = (*seen, path.resolve())
    name = extends.text
    try:
        parent = find(path.parent / name if _is_path(name) else name, recipes or path.parent)
    except RecipeError as error:
        report.error(extends.place, "extends", error.message, hint=error.hint, code="value")
        return node, False
    if parent.resolve() in chain or len(chain) >= _LONGEST_CHAIN:
        report.error(extends.place, "extends", "the recipes extend each other in a circle", code="value")
        return node, False
    base, whole = _read_chain(parent, recipes, report, chain)
    return _merge_recipes(base, node, concatenate=True), whole


def _read_file(path: Path, report: Report) -> Node:
    file = str(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RecipeError(f"{file}: {error.strerror}", hint=READABLE) from error
    try:
        node = parse(decode(data, file=file), report, file=file, tags=frozenset({REPLACE}))
    except Unreadable as error:
        report.add(error.diagnostic)
        raise RecipeErrors(report.all()) from error
    return node if node is not None else Mapping((), NodePlace(file, 1, 1))


def _merge_recipes(base: Node, over: Node, *, concatenate: bool) -> Node:
    """Merge the two halves, each by its rule: lists of `build` are added to, those of `machine` replaced."""
    if not isinstance(base, Mapping) or not isinstance(over, Mapping):
        return over
    entries: dict[str, tuple[Scalar, Any]] = {key.text: (key, value) for key, value in base.entries}
    for key, value in over.entries:
        beneath = entries.get(key.text)
        lists = concatenate and key.text == "build"
        entries[key.text] = (key, merge(beneath[1] if beneath else None, value, concatenate=lists))
    return Mapping(tuple(entries.values()), over.place)
