"""Which files a package's preinst diverts: its calls of `dpkg-divert` (dpkg-divert(1)) that a build can carry out.

A build runs no script. So a call counts only where all its words are literal and where it surely runs on a first
installation: unconditionally, in `if [ "$1" = install ]`, or in that branch of `case "$1"`. Any other stays with the
script's judge, which refuses the package.
"""

from __future__ import annotations

from collections.abc import Iterable

from builder.errors import BuildError
from builder.rootfs import mergedusr
from builder.rootfs.deb import Deb
from builder.rootfs.tree import Diversion
from builder.stages.installing import sure_calls
from builder.stages.reviewed import review_of
from builder.stages.shellwords import Call, calls

COMMAND = "dpkg-divert"
_SCRIPT = "preinst"
_IDLE = frozenset({"--add", "--rename", "--no-rename", "--quiet"})


def diversions_of(debs: Iterable[Deb]) -> tuple[Diversion, ...]:
    """Return the diversions of all packages, by path; raise BuildError where two divert one path.

    A script that was read is answered for by its review (`reviewed.py`), and diverts nothing here.
    """
    found: dict[str, Diversion] = {}
    for deb in debs:
        for item in _literal(deb):
            other = found.setdefault(item.path, item)
            if other != item:
                raise BuildError(
                    f"the packages {other.package} and {item.package} both divert `/{item.path}`",
                    hint="dpkg would refuse to install them together: leave one out of the recipe",
                )
    return tuple(found[path] for path in sorted(found))


def carries_out(deb: Deb, script: str) -> bool:
    """Return whether every call of `dpkg-divert` in a script is one that `diversions_of` gives."""
    whole = calls(deb.control_files[script], COMMAND)
    return script == _SCRIPT and bool(whole) and len(_literal(deb)) == len(whole)


def _literal(deb: Deb) -> list[Diversion]:
    review = review_of(deb.name)
    if review is not None and COMMAND in review.commands:
        return []
    script = deb.control_files.get(_SCRIPT)
    if script is None or not calls(script, COMMAND):
        return []
    read = (_diversion(call, deb.name) for call in sure_calls(script, COMMAND))
    return [item for item in read if item is not None]


def _diversion(call: Call, package: str) -> Diversion | None:
    """Read one call; None where it does anything but add a diversion of this very package."""
    if not all(word.literal for word in call.arguments):
        return None
    words = iter([word.text for word in call.arguments])
    said = {"--package": package}
    paths = []
    for word in words:
        option, equals, value = word.partition("=")
        if option in ("--package", "--divert"):
            said[option] = value if equals else next(words, "")
        elif not word.startswith("-"):
            paths.append(word)
        elif word not in _IDLE:
            return None
    if len(paths) != 1 or said["--package"] != package:
        return None
    path, to = paths[0], said.get("--divert", f"{paths[0]}.distrib")
    if not (_is_plain(path) and _is_plain(to)) or path == to:
        return None
    return Diversion(package=package, path=mergedusr.resolve(path[1:]), to=mergedusr.resolve(to[1:]))


def _is_plain(path: str) -> bool:
    return path.startswith("/") and not {"", ".", ".."} & set(path[1:].split("/")) and path.isprintable()
