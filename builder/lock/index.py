"""Reads a suite's `Packages` file: finds names at once, and reads a record only when it is asked for.

The file of trixie's main has 68,829 records in 57 MB; a lock needs a few hundred of them.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from builder.errors import VerificationError
from builder.lock.depends import split_groups
from builder.lock.model import LockedPackage

_PROVIDES = b"\nProvides: "


@dataclass(frozen=True, kw_only=True)
class PackageIndex:
    """The records of one suite and one architecture, by name, still as bytes; `provided` maps virtual names."""

    suite: str
    records: dict[str, tuple[bytes, ...]]
    provided: dict[str, tuple[str, ...]]

    def packages(self, name: str) -> tuple[LockedPackage, ...]:
        """Return every version that the suite has of `name`. Raises VerificationError."""
        return tuple(parse_record(record, self.suite) for record in self.records.get(name, ()))


def read_index(data: bytes, suite: str) -> PackageIndex:
    """Index a whole `Packages` file."""
    records: dict[str, tuple[bytes, ...]] = {}
    provided: dict[str, list[str]] = {}
    for record in data.split(b"\n\n"):
        if not record.startswith(b"Package: "):
            if record.strip(b"\n"):
                raise VerificationError(f"the index of {suite} has a record that does not begin with `Package:`")
            continue
        end = record.find(b"\n")
        name = record[9 : end if end >= 0 else None].decode("ascii", "replace")
        records[name] = (*records[name], record) if name in records else (record,)
        at = record.find(_PROVIDES)
        if at >= 0:
            for virtual in _virtual_names(record, at + len(_PROVIDES)):
                provided.setdefault(virtual, []).append(name)
    return PackageIndex(suite=suite, records=records, provided={key: tuple(value) for key, value in provided.items()})


def _virtual_names(record: bytes, start: int) -> set[str]:
    end = record.find(b"\n", start)
    text = record[start : end if end >= 0 else None].decode("utf-8", "replace")
    return {part.split("(")[0].split(":")[0].strip() for part in text.split(",")}


def fields_of(record: bytes) -> dict[str, str]:
    """Return the fields of one record (deb822(5)); the lines of a folded field are joined by line feeds."""
    fields: dict[str, str] = {}
    last = ""
    for line in record.decode("utf-8", "replace").splitlines():
        if line[:1] in {" ", "\t"}:
            if last:
                fields[last] += "\n" + line.strip()
            continue
        name, colon, value = line.partition(":")
        if colon:
            last = name
            fields[name] = value.strip()
    return fields


def parse_record(record: bytes, suite: str) -> LockedPackage:
    """Turn one record into a package. Raises VerificationError where a field is missing or dangerous."""
    fields = fields_of(record)
    name = fields.get("Package", "?")
    try:
        version = fields["Version"]
        source, _, rest = fields.get("Source", name).partition(" ")
        package = LockedPackage(
            name=name,
            version=version,
            architecture=fields["Architecture"],
            source=source,
            source_version=rest.strip("() ") or version,
            suite=suite,
            filename=checked_filename(fields["Filename"]),
            size=int(fields["Size"]),
            sha256=fields["SHA256"].lower(),
            depends=split_groups(fields.get("Pre-Depends", "")) + split_groups(fields.get("Depends", "")),
            provides=split_groups(fields.get("Provides", "")),
            conflicts=split_groups(fields.get("Conflicts", "")) + split_groups(fields.get("Breaks", "")),
        )
    except (KeyError, ValueError) as error:
        raise VerificationError(f"the index of {suite} describes {name} wrongly: {error}") from None
    if len(package.sha256) != 64 or package.size <= 0:
        raise VerificationError(f"the index of {suite} describes {name} without a usable size or SHA-256")
    return package


def checked_filename(filename: str) -> str:
    """Return `filename` if it is a relative path that stays below the archive's base. Raises ValueError."""
    if filename.startswith(("/", "..")) or posixpath.normpath(filename) != filename:
        raise ValueError(f"the file name {filename!r} leaves the archive")
    if any(character in filename for character in "?#\\") or not filename.isprintable():
        raise ValueError(f"the file name {filename!r} has characters that no archive uses")
    return filename
