"""Whether one package may take over another's files: the `Replaces` field (deb-control(5), Debian policy 7.6)."""

from __future__ import annotations

from builder.errors import BuildError
from builder.lock.depends import parse_group, split_groups
from builder.rootfs.archive import NOT_DEBIANS
from builder.rootfs.deb import Deb


def replaces(new: Deb, old: Deb) -> bool:
    """Return whether `new` declares that it replaces files of `old` in the version that `old` has."""
    try:
        relations = [parse_group(group)[0] for group in split_groups(new.control.get("Replaces", ""))]
    except ValueError as error:
        raise BuildError(f"the package {new.name} has a broken `Replaces` field: {error}", hint=NOT_DEBIANS) from error
    return any(relation.name == old.name and relation.accepts(old.version) for relation in relations)
