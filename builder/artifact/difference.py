"""What changed between two images, from their manifests: packages, files, bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from builder.artifact.manifest import Manifest, sizes_by_origin
from builder.rootfs.entry import Entry

FORMAT = "berth.diff/1"


@dataclass(frozen=True, kw_only=True, slots=True)
class PackageChange:
    """What came, went or changed of a package, or of what the build made (`by_build`), which has no version.

    A package's version of None is absence; sizes are in bytes, in the image.
    """

    name: str
    old_version: str | None
    new_version: str | None
    old_size: int
    new_size: int
    by_build: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class FileChange:
    """A path that came, went or changed. `what` names the properties that differ, or says `added`, `removed`."""

    path: str
    what: tuple[str, ...]
    origin: str
    old_size: int
    new_size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SizeChange:
    """A part of the slot, in bytes."""

    name: str
    old: int
    new: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """All that differs. `same` is true where the root images are equal to the bit."""

    old: str
    new: str
    same: bool
    packages: tuple[PackageChange, ...]
    files: tuple[FileChange, ...]
    sizes: tuple[SizeChange, ...]

    def to_json(self) -> dict[str, object]:
        """Return it as `berth diff --json` prints it."""
        return {
            "format": FORMAT,
            "old": self.old,
            "new": self.new,
            "same": self.same,
            "packages": [
                {
                    "name": change.name,
                    "old_version": change.old_version,
                    "new_version": change.new_version,
                    "old_size": change.old_size,
                    "new_size": change.new_size,
                    "by_build": change.by_build,
                }
                for change in self.packages
            ],
            "files": [
                {
                    "path": change.path,
                    "what": list(change.what),
                    "origin": change.origin,
                    "old_size": change.old_size,
                    "new_size": change.new_size,
                }
                for change in self.files
            ],
            "sizes": {change.name: {"old": change.old, "new": change.new} for change in self.sizes},
        }


def compare(old: Manifest, new: Manifest) -> Difference:
    """Compare two images."""
    sizes = {part.name: part.size for part in old.parts}
    return Difference(
        old=f"{old.recipe} {old.release.version}",
        new=f"{new.recipe} {new.release.version}",
        same=old.root_hash == new.root_hash and old.parts == new.parts,
        packages=tuple(_packages(old, new)),
        files=tuple(_files(old, new)),
        sizes=tuple(SizeChange(name=part.name, old=sizes.get(part.name, 0), new=part.size) for part in new.parts),
    )


def _packages(old: Manifest, new: Manifest) -> Iterator[PackageChange]:
    """Give what changed in version or size; stages and the recipe itself stand under their names, without versions."""
    versions = [{package.name: package.version for package in manifest.packages} for manifest in (old, new)]
    sizes = [sizes_by_origin(manifest.entries) for manifest in (old, new)]
    for name in sorted(set().union(*versions, *sizes) - {""}):
        change = PackageChange(
            name=name,
            old_version=versions[0].get(name),
            new_version=versions[1].get(name),
            old_size=sizes[0][name],
            new_size=sizes[1][name],
            by_build=all(name not in known for known in versions),
        )
        if change.old_version != change.new_version or change.old_size != change.new_size:
            yield change


def _files(old: Manifest, new: Manifest) -> Iterator[FileChange]:
    before = {entry.path: entry for entry in old.entries}
    after = {entry.path: entry for entry in new.entries}
    for path in sorted(before.keys() | after.keys()):
        left, right = before.get(path), after.get(path)
        if left != right:
            present = right or left
            assert present is not None
            what = _differing(left, right)
            if what:
                yield FileChange(
                    path=path,
                    what=what,
                    origin=present.origin,
                    old_size=left.size if left else 0,
                    new_size=right.size if right else 0,
                )


def _differing(left: Entry | None, right: Entry | None) -> tuple[str, ...]:
    if left is None:
        return ("added",)
    if right is None:
        return ("removed",)
    pairs = (
        ("kind", left.kind != right.kind),
        ("content", (left.size, left.sha256) != (right.size, right.sha256)),
        ("target", left.target != right.target),
        ("mode", left.mode != right.mode),
        ("owner", (left.uid, left.gid) != (right.uid, right.gid)),
        ("device", left.device != right.device),
        ("xattrs", left.xattrs != right.xattrs),
        ("origin", replace(left, origin="") == replace(right, origin="")),
    )
    return tuple(name for name, differs in pairs if differs)
