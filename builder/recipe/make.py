"""From the checked keys of the `build` half to the frozen `Build`."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

from builder.errors import Place
from builder.recipe.beside import beside, open_file, read_file
from builder.recipe.model import (
    BakedImage,
    Build,
    Compression,
    Exclusion,
    ExtraFile,
    HotFiles,
    ModuleCut,
    PackageRequest,
    ScriptExcuse,
    Waiver,
)
from builder.recipe.patterns import expand
from builder.recipe.schema import LEVELS
from init.dialects.diagnostic import Place as NodePlace
from init.dialects.diagnostic import Report
from init.dialects.position import Mapping, Node, Sequence, is_null
from init.dialects.record import Fields

RELATIVE = "a path that is not absolute starts at the recipe's folder"
_NEEDED = ("suite", "architecture")
_HOT_CLUSTER = 131072  # bytes


def make_build(fields: Fields, report: Report) -> Build | None:
    """Return the `build` half, or None where `report` has an error: of what it was read from, or found here."""
    for name in _NEEDED:
        if is_absent(fields, name):
            report.error(fields.node.place, fields.path, f"the key `{name}` is missing", code="missing")
    compression = fields.get("compression")
    build = Build(
        version=fields.get("version"),
        machine_class=fields.get("class"),
        suite=fields.get("suite"),
        architecture=fields.get("architecture"),
        kernel=fields.get("kernel", "full"),
        engine=fields.get("engine", "none"),
        packages=_packages(fields, report),
        images=_images(fields, report),
        files=_files(fields, "files", report),
        exclude=tuple(
            Exclusion(pattern=each, reason=cut.get("reason"), keep=_expanded(cut.get("keep", ())))
            for cut in fields.get("exclude", ())
            for each in expand(cut.get("pattern", ""))
        ),
        modules=tuple(
            ModuleCut(
                pattern=each,
                reason=cut.get("reason"),
                keep=_expanded(cut.get("keep", ())),
                kernel=cut.get("kernel", ""),
            )
            for cut in fields.get("modules", ())
            for each in expand(cut.get("pattern", ""))
        ),
        module_signatures=fields.get("module_signatures", "keep"),
        compression=Compression() if compression is None else _compression(compression, report),
        scripts=tuple(
            ScriptExcuse(package=each.get("package"), reason=each.get("reason"), place=place(each.place("package")))
            for each in fields.get("scripts", ())
        ),
        waive=tuple(
            Waiver(
                package=each.get("package"), depends=name, reason=each.get("reason"), place=place(each.place("package"))
            )
            for each in fields.get("waive", ())
            for name in each.get("depends", ())
        ),
        budget=fields.get("budget"),
        root_mib=fields.get("root_mib", 1024),
        cmdline=fields.get("cmdline", ()),
        update_root=_update_root(fields, report),
    )
    return None if report.errors else build


def is_absent(fields: Fields, name: str) -> bool:
    """Tell whether a key is not there or null; one whose value is wrong is there."""
    node = fields.node.get(name)
    return node is None or is_null(node)


def place(where: NodePlace) -> Place:
    """Return a node's place as the builder's errors have it."""
    return Place(file=where.file, line=where.line, column=where.column)


def problem_of(path: Path) -> str | None:
    """Say why a file that a recipe names cannot be taken, None where it can."""
    try:
        open_file(path).close()
    except OSError as error:
        return f"{path} cannot be taken: {error.strerror}"
    return None


def _expanded(patterns: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(each for pattern in patterns for each in expand(pattern))


def _compression(fields: Fields, report: Report) -> Compression:
    default = Compression()
    algorithm, level = _algorithm(fields, default.algorithm, default.level, report)
    cluster = _power_of_two(fields, default.cluster, report)
    rest = Compression(algorithm=algorithm, level=level, cluster=cluster)
    return replace(rest, hot=_hot(fields.get("hot", ()), rest, fields, report))


def _hot(records: tuple[Fields, ...], rest: Compression, whole: Fields, report: Report) -> tuple[HotFiles, ...]:
    """Return the records. One of a recipe that is extended by another, which says otherwise for the rest, gives way."""
    levels = {rest.algorithm: rest.level}
    result = []
    for fields in records:
        own = fields.place("paths").file
        gives_way = any(whole.place(key).file != own for key in ("algorithm", "level", "cluster") if key in whole)
        name = fields.get("algorithm", rest.algorithm)
        algorithm, level = _algorithm(fields, name, levels.get(name, rest.level), report)
        if gives_way:
            level = levels.get(algorithm, level)
        if level != levels.setdefault(algorithm, level):
            message = f"{algorithm} has level {levels[algorithm]} in this image, which has one for each algorithm"
            hint = "leave `level` out, or take another algorithm"
            report.error(fields.place("level"), fields.below("level"), message, hint=hint, code="value")
        cluster = _power_of_two(fields, min(_HOT_CLUSTER, rest.cluster), report)
        if gives_way:
            cluster = min(cluster, rest.cluster)
        if cluster > rest.cluster:
            message = f"expected no more than the cluster of all other files, {rest.cluster}"
            report.error(fields.place("cluster"), fields.below("cluster"), message, code="value")
        paths = _expanded(fields.get("paths", ()))
        result.append(HotFiles(algorithm=algorithm, level=level, cluster=cluster, paths=paths))
    return tuple(result)


def _algorithm(fields: Fields, algorithm: str, level: int, report: Report) -> tuple[str, int]:
    algorithm = fields.get("algorithm", algorithm)
    levels = LEVELS[algorithm]
    level = fields.get("level", level if _is_among(level, levels) else levels[0][-1])
    if not _is_among(level, levels):
        # The level may be that of another recipe, which this one extends.
        both = (fields.place("algorithm"), fields.place("level"))
        name = "level" if "algorithm" not in fields or both[0].file == both[1].file else "algorithm"
        allowed = " and ".join(f"{each[0]} to {each[-1]}" for each in levels)
        message = f"{algorithm} has no level {level}: its levels are {allowed}"
        hint = "write `level` beside `algorithm`" if name == "algorithm" else None
        report.error(fields.place(name), fields.below(name), message, hint=hint, code="value")
    return algorithm, level


def _is_among(level: int, levels: tuple[range, ...]) -> bool:
    return any(level in each for each in levels)


def _power_of_two(fields: Fields, default: int, report: Report) -> int:
    cluster: int = fields.get("cluster", default)
    if cluster & (cluster - 1):
        report.error(fields.place("cluster"), fields.below("cluster"), "expected a power of two", code="value")
    return cluster


def _items(fields: Fields, name: str) -> tuple[Node, ...]:
    node = fields.node.get(name)
    return node.items if isinstance(node, Sequence) else ()


def _requests(fields: Fields, name: str) -> tuple[PackageRequest, ...]:
    names, nodes = fields.get(name, ()), _items(fields, name)
    pairs = zip(names, nodes, strict=True) if len(names) == len(nodes) else ()  # else one of them was refused
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


def _files(fields: Fields, name: str, report: Report) -> tuple[ExtraFile, ...]:
    node = fields.node.get(name)
    places = {key.text: key.place for key, _ in node.entries} if isinstance(node, Mapping) else {}
    result = []
    for path, value in fields.get(name, {}).items():
        where = places[path]
        if isinstance(value, str):
            file = ExtraFile(path=path, content=value, source=None, mode=0o644, uid=0, gid=0, place=place(where))
        else:
            source = beside(value.place("source"), value.get("source")) if "source" in value else None
            problem = None if source is None else problem_of(source)
            if problem is not None:
                report.error(value.place("source"), value.below("source"), problem, hint=RELATIVE, code="value")
            file = ExtraFile(
                path=path,
                content=value.get("content"),
                source=source,
                mode=value.get("mode", 0o644),
                uid=value.get("uid", 0),
                gid=value.get("gid", 0),
                place=place(where),
            )
        result.append(file)
    return tuple(result)


def _images(fields: Fields, report: Report) -> tuple[BakedImage, ...]:
    images: dict[str, Fields] = fields.get("images", {})
    return tuple(
        BakedImage(
            name=name,
            oci=_layout(each, report) if "oci" in each else None,
            digest=each.get("digest"),
            packages=_requests(each, "packages"),
            files=_files(each, "files", report),
            entrypoint=each.get("entrypoint", ()),
            command=each.get("command", ()),
            environment=tuple(each.get("environment", {}).items()),
            place=place(each.node.place),
        )
        for name, each in images.items()
    )


def _layout(fields: Fields, report: Report) -> Path:
    """Return where an OCI layout lies: a folder with its index, or a tar file, which may be of any size."""
    path = beside(fields.place("oci"), fields.get("oci"))
    problem = None
    try:
        if path.is_dir():
            problem = problem_of(path / "index.json")
        elif not stat.S_ISREG(path.stat().st_mode):
            problem = f"{path} is neither a folder nor a regular file"
        elif not os.access(path, os.R_OK):
            problem = f"{path} cannot be taken: Permission denied"
    except OSError as error:
        problem = f"{path} cannot be taken: {error.strerror}"
    if problem is not None:
        hint = f"an OCI layout is a folder with `index.json`, or a tar file of one; {RELATIVE}"
        report.error(fields.place("oci"), fields.below("oci"), problem, hint=hint, code="value")
    return path


def _update_root(fields: Fields, report: Report) -> str | None:
    text: str | None = fields.get("update_root")
    if text is None:
        return None
    problem = None
    if not text.lstrip().startswith("{"):
        path = beside(fields.place("update_root"), text)
        try:
            text = read_file(path).decode()
        except OSError as error:
            problem = f"{path} cannot be taken: {error.strerror}"
        except UnicodeDecodeError:
            problem = f"{path} is not text"
    if problem is None and not _is_root(text):
        problem = "not a repository's root"
    if problem is not None:
        hint = f"`berth keys init` writes a repository's root as root.json; {RELATIVE}"
        report.error(fields.place("update_root"), fields.below("update_root"), problem, hint=hint, code="value")
    return text


def _is_root(text: str) -> bool:
    """Tell a repository's root from another file given by mistake; the machine verifies it."""
    try:
        return bool(json.loads(text)["signed"]["_type"] == "root")
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
