"""Reads and writes lock files: JSON with one package a line, in a fixed order, so that differences are small.

    {
     "format": "berth.lock/1",
     "recipe": "podman", "suite": "trixie", "architecture": "amd64", "epoch": 1795432000,
     "parts": [
      {"name": "root", "requests": ["busybox", …]}
     ],
     "waived": [
      {"package": "libpam0g", "depends": "debconf"}
     ],
     "releases": [
      {"suite": "trixie", "archive": "main", "date": "2026-11-21T09:15:44Z", …}
     ],
     "packages": [
      {"name": "busybox", "version": "1:1.37.0-6", …}
     ]
    }

Reading is strict: an unknown or missing key, a wrong type, a second package of the same name are errors with the line.
"""

from __future__ import annotations

import calendar
import json
import os
import re
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from builder.errors import LockError, Place
from builder.lock.index import checked_filename
from builder.lock.model import Lock, LockedPackage, LockedPart, LockedRelease, LockedWaiver
from builder.recipe.asked import beside_lock

if TYPE_CHECKING:
    from builder.recipe.asked import Asked

FORMAT = "berth.lock/1"
_LISTS = ("parts", "waived", "releases", "packages")
_TIME = "%Y-%m-%dT%H:%M:%SZ"
_HEX64 = re.compile(r"[0-9a-f]{64}\Z")
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]*\Z")

T = TypeVar("T")


def write_lock(lock: Lock, path: Path) -> None:
    """Write `lock` to `path`: whole or not at all. Raises LockError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as out:
            out.write(render_lock(lock).encode())
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise LockError(
            f"cannot be written: {error.strerror}",
            hint="the lock stands beside its recipe: copy the recipe to where you may write",
            place=Place(file=str(path)),
        ) from None


def render_lock(lock: Lock) -> str:
    """Return the text of a lock file: the same lock always gives the same text."""
    head: dict[str, object] = {
        "format": FORMAT,
        "recipe": lock.recipe,
        "suite": lock.suite,
        "architecture": lock.architecture,
        "epoch": lock.epoch,
    }
    if lock.healed_from:
        head["healed_from"] = lock.healed_from
    lists: dict[str, list[dict[str, object]]] = {
        "parts": [{"name": part.name, "requests": list(part.requests)} for part in lock.parts],
        "waived": [{"package": waiver.package, "depends": waiver.depends} for waiver in lock.waived],
        "releases": [_release_out(release) for release in lock.releases],
        "packages": [_package_out(package) for package in sorted(lock.packages, key=lambda package: package.name)],
    }
    blocks = [f' "{key}": {_line(value)}' for key, value in head.items()]
    for key, values in lists.items():
        lines = ",\n".join("  " + _line(value) for value in values)
        blocks.append(f' "{key}": [\n{lines}\n ]' if values else f' "{key}": []')
    return "{\n" + ",\n".join(blocks) + "\n}\n"


def read_lock(path: Path, asked: Asked | None = None) -> Lock:
    """Read and check a lock file; `asked` is how the user named its recipe. Raises LockError with file and line."""
    asked = asked or beside_lock(path)
    try:
        return parse_lock(_text(path, asked), str(path))
    except LockError as error:
        error.hint = error.hint or _anew(asked)
        raise


def _anew(asked: Asked) -> str:
    return f"take it from version control again, or delete it and lock anew: {asked.to_lock()}"


def _text(path: Path, asked: Asked) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise LockError(
            "there is no such lock", hint=f"make it: {asked.to_lock()}", place=Place(file=str(path))
        ) from None
    except OSError as error:
        place = Place(file=str(path))
        raise LockError(f"the lock cannot be read: {error.strerror}", hint=_anew(asked), place=place) from None
    except UnicodeDecodeError as error:
        place = Place(file=str(path), line=error.object.count(b"\n", 0, error.start) + 1)
        raise LockError("the lock cannot be read: it is not UTF-8 text", hint=_anew(asked), place=place) from None


def parse_lock(text: str, file: str) -> Lock:
    """Return the lock that `text` is; `file` is for messages. Raises LockError."""
    try:
        value = json.loads(text, object_pairs_hook=_no_twice)
    except json.JSONDecodeError as error:
        raise LockError(
            f"not JSON: {error.msg}", place=Place(file=file, line=error.lineno, column=error.colno)
        ) from None
    except _Twice as twice:
        raise LockError(f"not a lock: {twice}", place=Place(file=file, line=twice.line(text))) from None
    except (ValueError, RecursionError) as error:
        raise LockError(f"not a lock: {error}", place=Place(file=file, line=1)) from None
    reader = _Reader(text, file)
    if not isinstance(value, dict):
        reader.fail("a lock is one JSON object")
    if "format" not in value:
        reader.fail("`format` is missing")
    if value["format"] != FORMAT:
        reader.fail(f"its format is {value['format']!r}; this version reads {FORMAT}", '"format"')
    return reader.lock(value)


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _release_out(release: LockedRelease) -> dict[str, object]:
    out: dict[str, object] = {"suite": release.suite, "archive": release.archive, "date": _time_out(release.date)}
    if release.valid_until is not None:
        out["valid_until"] = _time_out(release.valid_until)
    return {**out, "sha256": release.sha256, "signers": list(release.signers)}


def _package_out(package: LockedPackage) -> dict[str, object]:
    out: dict[str, object] = {"name": package.name, "version": package.version, "architecture": package.architecture}
    if (package.source, package.source_version) != (package.name, package.version):
        out |= {"source": package.source, "source_version": package.source_version}
    out |= {"parts": list(package.parts), "suite": package.suite, "filename": package.filename}
    out |= {"size": package.size, "sha256": package.sha256}
    for key in ("depends", "provides", "conflicts"):
        if getattr(package, key):
            out[key] = list(getattr(package, key))
    return out


def _time_out(moment: int) -> str:
    return time.strftime(_TIME, time.gmtime(moment))


def _no_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        twice = next(key for key, _ in pairs if sum(key == other for other, _ in pairs) > 1)
        raise _Twice(twice)
    return value


class _Twice(ValueError):
    def __init__(self, key: str) -> None:
        super().__init__(f"the key {key!r} stands twice")
        self._key = json.dumps(key, ensure_ascii=False)

    def line(self, text: str) -> int:
        """Return the line that has the key twice, else that of its second appearance: a package is one line."""
        lines = text.splitlines()
        found = [number for number, line in enumerate(lines, 1) for _ in range(line.count(self._key))]
        return next((one for one, next_one in pairwise(found) if one == next_one), found[1] if len(found) > 1 else 1)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Checks values; where one is wrong, looks its line up in the text."""

    text: str
    file: str

    def fail(self, message: str, near: str = "") -> NoReturn:
        at = self.text.find(near) if near else -1
        line = self.text.count("\n", 0, at) + 1 if at >= 0 else 1
        raise LockError(message, place=Place(file=self.file, line=line))

    def take(self, value: dict[str, Any], key: str, kind: type[T], near: str, default: T | None = None) -> T:
        found = value.pop(key, default)
        if not isinstance(found, kind) or isinstance(found, bool):
            self.fail(f"`{key}` is {'missing' if found is None else 'of a wrong type'}", near)
        return found

    def texts(self, value: dict[str, Any], key: str, near: str) -> tuple[str, ...]:
        found: list[Any] = self.take(value, key, list, near, [])
        if not all(isinstance(item, str) for item in found):
            self.fail(f"`{key}` has to be a list of texts", near)
        return tuple(found)

    def moment(self, value: dict[str, Any], key: str, near: str) -> int:
        text = self.take(value, key, str, near)
        try:
            return calendar.timegm(time.strptime(text, _TIME))
        except (ValueError, OverflowError):
            self.fail(f"`{key}` is no moment like 2026-11-21T09:15:44Z", near)

    def hash(self, value: dict[str, Any], key: str, near: str) -> str:
        found = self.take(value, key, str, near)
        if not _HEX64.match(found):
            self.fail(f"`{key}` is no SHA-256", near)
        return found

    def end(self, value: dict[str, Any], near: str) -> None:
        if value:
            self.fail(f"`{next(iter(value))}` is not known here", near)

    def lock(self, value: dict[str, Any]) -> Lock:
        del value["format"]
        lists: dict[str, list[dict[str, Any]]] = {}
        for key in _LISTS:
            items: list[Any] = self.take(value, key, list, f'"{key}"')
            if not all(isinstance(item, dict) for item in items):
                self.fail(f"`{key}` has to be a list of objects", f'"{key}"')
            lists[key] = items
        lock = Lock(
            recipe=self.take(value, "recipe", str, '"recipe"'),
            suite=self.take(value, "suite", str, '"suite"'),
            architecture=self.take(value, "architecture", str, '"architecture"'),
            epoch=self.take(value, "epoch", int, '"epoch"'),
            healed_from=self.take(value, "healed_from", str, '"healed_from"', ""),
            parts=tuple(self.part(item) for item in lists["parts"]),
            waived=tuple(self.waiver(item) for item in lists["waived"]),
            releases=tuple(self.release(item) for item in lists["releases"]),
            packages=tuple(self.package(item) for item in lists["packages"]),
        )
        near = f'"{next(iter(value), "")}"'
        self.end(value, near)
        self.check(lock)
        return lock

    def part(self, value: dict[str, Any]) -> LockedPart:
        name = self.take(value, "name", str, '"parts"')
        part = LockedPart(name=name, requests=self.texts(value, "requests", f'"{name}"'))
        self.end(value, f'"name": "{name}"')
        return part

    def waiver(self, value: dict[str, Any]) -> LockedWaiver:
        package = self.take(value, "package", str, '"waived"')
        waiver = LockedWaiver(package=package, depends=self.take(value, "depends", str, f'"{package}"'))
        self.end(value, f'"package": "{package}"')
        return waiver

    def release(self, value: dict[str, Any]) -> LockedRelease:
        suite = self.take(value, "suite", str, '"releases"')
        near = f'{{"suite": "{suite}"'
        release = LockedRelease(
            suite=suite,
            archive=self.take(value, "archive", str, near),
            date=self.moment(value, "date", near),
            valid_until=self.moment(value, "valid_until", near) if "valid_until" in value else None,
            sha256=self.hash(value, "sha256", near),
            signers=self.texts(value, "signers", near),
        )
        if release.archive not in {"main", "security"}:
            self.fail("`archive` is neither main nor security", near)
        self.end(value, near)
        return release

    def package(self, value: dict[str, Any]) -> LockedPackage:
        name = self.take(value, "name", str, '"packages"')
        near = f'{{"name": "{name}"'
        version = self.take(value, "version", str, near)
        package = LockedPackage(
            name=name,
            version=version,
            architecture=self.take(value, "architecture", str, near),
            source=self.take(value, "source", str, near, name),
            source_version=self.take(value, "source_version", str, near, version),
            parts=self.texts(value, "parts", near),
            suite=self.take(value, "suite", str, near),
            filename=self.take(value, "filename", str, near),
            size=self.take(value, "size", int, near),
            sha256=self.hash(value, "sha256", near),
            depends=self.texts(value, "depends", near),
            provides=self.texts(value, "provides", near),
            conflicts=self.texts(value, "conflicts", near),
        )
        self.end(value, near)
        return package

    def check(self, lock: Lock) -> None:
        """Check what no single value shows: names, order, references."""
        suites = {release.suite for release in lock.releases}
        parts = {part.name for part in lock.parts}
        last = ""
        for package in lock.packages:
            near = f'{{"name": "{package.name}"'
            if not _NAME.match(package.name):
                self.fail("this is no package's name", near)
            if package.name <= last:
                self.fail(f"{package.name} stands twice or out of order", near)
            last = package.name
            if package.suite not in suites:
                self.fail(f"no Release file of `{package.suite}` is in this lock", near)
            if package.size <= 0:
                self.fail("`size` has to be a number of bytes above 0", near)
            if not set(package.parts) <= parts:
                self.fail("`parts` names a part that this lock does not have", near)
            try:
                checked_filename(package.filename)
            except ValueError as error:
                self.fail(str(error), near)
