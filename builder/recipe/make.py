"""From the checked keys of the `build` half to the frozen `Build`."""

from __future__ import annotations

import json
from pathlib import Path

from builder.errors import Place
from builder.recipe.model import (
    BakedImage,
    Build,
    Compression,
    Exclusion,
    ExtraFile,
    ModuleCut,
    PackageRequest,
    ScriptExcuse,
    Waiver,
)
from builder.recipe.patterns import expand
from init.dialects.diagnostic import Place as NodePlace
from init.dialects.diagnostic import Report
from init.dialects.position import Mapping, Node, Sequence
from init.dialects.record import Fields

_NEEDED = ("suite", "architecture")


def make_build(fields: Fields, report: Report) -> Build | None:
    """Return the `build` half, or None after an error was reported."""
    for name in _NEEDED:
        if name not in fields:
            report.error(fields.node.place, fields.path, f"the key `{name}` is missing", code="missing")
    if report.errors:
        return None
    compression = fields.get("compression")
    default = Compression()
    return Build(
        version=fields.get("version"),
        machine_class=fields.get("class"),
        suite=fields.get("suite"),
        architecture=fields.get("architecture"),
        kernel=fields.get("kernel", "full"),
        engine=fields.get("engine", "none"),
        packages=_packages(fields, report),
        images=_images(fields),
        files=_files(fields, "files"),
        exclude=tuple(
            Exclusion(pattern=each, reason=cut.get("reason"), keep=_expanded(cut.get("keep", ())))
            for cut in fields.get("exclude", ())
            for each in expand(cut.get("pattern"))
        ),
        modules=tuple(
            ModuleCut(
                pattern=each,
                reason=cut.get("reason"),
                keep=_expanded(cut.get("keep", ())),
                kernel=cut.get("kernel", ""),
            )
            for cut in fields.get("modules", ())
            for each in expand(cut.get("pattern"))
        ),
        compression=default
        if compression is None
        else Compression(
            algorithm=compression.get("algorithm", default.algorithm),
            level=compression.get("level", default.level),
            cluster=_power_of_two(compression, default.cluster, report),
        ),
        scripts=tuple(
            ScriptExcuse(package=each.get("package"), reason=each.get("reason"), place=place(each.place("package")))
            for each in fields.get("scripts", ())
        ),
        waive=tuple(
            Waiver(
                package=each.get("package"), depends=name, reason=each.get("reason"), place=place(each.place("package"))
            )
            for each in fields.get("waive", ())
            for name in each.get("depends")
        ),
        budget=fields.get("budget"),
        root_mib=fields.get("root_mib", 1024),
        cmdline=fields.get("cmdline", ()),
        update_root=_update_root(fields, report),
    )


def place(where: NodePlace) -> Place:
    """Return a node's place as the builder's errors have it."""
    return Place(file=where.file, line=where.line, column=where.column)


def beside(where: NodePlace, text: str) -> Path:
    """Return a path that stands in a recipe: relative ones start at the recipe's folder."""
    return Path(where.file).parent / text if not where.file.startswith("--set") else Path(text)


def _expanded(patterns: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(each for pattern in patterns for each in expand(pattern))


def _power_of_two(fields: Fields, default: int, report: Report) -> int:
    cluster: int = fields.get("cluster", default)
    if cluster & (cluster - 1):
        report.error(fields.place("cluster"), fields.below("cluster"), "expected a power of two", code="value")
    return cluster


def _items(fields: Fields, name: str) -> tuple[Node, ...]:
    node = fields.node.get(name)
    return node.items if isinstance(node, Sequence) else ()


def _requests(fields: Fields, name: str) -> tuple[PackageRequest, ...]:
    pairs = zip(fields.get(name, ()), _items(fields, name), strict=True)
    return tuple(PackageRequest(name=package, place=place(node.place)) for package, node in pairs)


def _packages(fields: Fields, report: Report) -> tuple[PackageRequest, ...]:
    first: dict[str, PackageRequest] = {}
    for index, request in enumerate(_requests(fields, "packages")):
        if request.name in first:
            where = NodePlace(request.place.file, request.place.line, request.place.column)
            message = f"the package `{request.name}` is asked for already at {first[request.name].place}"
            report.note(where, f"{fields.below('packages')}[{index}]", message, code="duplicate")
        first.setdefault(request.name, request)
    return tuple(first.values())


def _files(fields: Fields, name: str) -> tuple[ExtraFile, ...]:
    node = fields.node.get(name)
    places = {key.text: key.place for key, _ in node.entries} if isinstance(node, Mapping) else {}
    result = []
    for path, value in fields.get(name, {}).items():
        where = places[path]
        if isinstance(value, str):
            file = ExtraFile(path=path, content=value, source=None, mode=0o644, uid=0, gid=0, place=place(where))
        else:
            source = value.get("source")
            file = ExtraFile(
                path=path,
                content=value.get("content"),
                source=None if source is None else beside(value.place("source"), source),
                mode=value.get("mode", 0o644),
                uid=value.get("uid", 0),
                gid=value.get("gid", 0),
                place=place(where),
            )
        result.append(file)
    return tuple(result)


def _images(fields: Fields) -> tuple[BakedImage, ...]:
    images: dict[str, Fields] = fields.get("images", {})
    return tuple(
        BakedImage(
            name=name,
            oci=beside(each.place("oci"), each.get("oci")) if "oci" in each else None,
            digest=each.get("digest"),
            packages=_requests(each, "packages"),
            files=_files(each, "files"),
            entrypoint=each.get("entrypoint", ()),
            command=each.get("command", ()),
            environment=tuple(each.get("environment", {}).items()),
            place=place(each.node.place),
        )
        for name, each in images.items()
    )


def _update_root(fields: Fields, report: Report) -> str | None:
    text: str | None = fields.get("update_root")
    if text is None:
        return None
    problem = "not a repository's root: `berth keys init` writes one as root.json"
    if not text.lstrip().startswith("{"):
        try:
            text = beside(fields.place("update_root"), text).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            problem = "there is no such file"
    if not _is_root(text):
        report.error(fields.place("update_root"), fields.below("update_root"), problem, code="value")
    return text


def _is_root(text: str) -> bool:
    """Tell a repository's root from another file given by mistake; the machine verifies it."""
    try:
        return bool(json.loads(text)["signed"]["_type"] == "root")
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
