"""Finds out which mirror to ask. The project itself names none.

In this order, the first that says something: `--mirror`, `BERTH_MIRROR`, the user's config
(`~/.config/berth/config.yaml`), the host's apt sources. Only base addresses are taken; the suite is the recipe's.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import yaml

from builder.errors import FetchError, InputError, Place, UsageError
from builder.fetch.aptsources import read_sources

_HOW = "name a Debian mirror: BERTH_MIRROR=https://…/debian (and a second address, if …/debian-security is elsewhere)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Mirrors:
    """Base addresses, without a slash at the end. `origin` says where they were found."""

    main: str
    security: str
    origin: str

    def url(self, archive: str, path: str) -> str:
        """Return the address of a file. `archive` is `main` or `security`, as in a LockedRelease."""
        base = self.security if archive == "security" else self.main
        return f"{base}/{quote(path, safe='/+~')}"


def find_mirrors(
    given: Sequence[str] = (),
    *,
    environment: dict[str, str] | None = None,
    config: Path | None = None,
    apt: Path = Path("/etc/apt"),
) -> Mirrors:
    """Return the mirrors to use. `given` is what `--mirror` says. Raises UsageError, InputError, FetchError."""
    variables = dict(os.environ) if environment is None else environment
    if given:
        return _from_words(list(given), "--mirror")
    words = variables.get("BERTH_MIRROR", "").replace(",", " ").split()
    if words:
        return _from_words(words, "BERTH_MIRROR")
    path = config or config_path(variables)
    words = _from_config(path) if path else []
    if words:
        return _from_words(words, str(path))
    found = read_sources(apt)
    if found is not None and (found.security or urlsplit(found.main).path):
        security = found.security or _beside(found.main, str(found.origin))
        return Mirrors(main=found.main, security=security, origin=str(found.origin))
    raise no_mirror()


def no_mirror(need: str = "") -> FetchError:
    """Return the error for a host on which nothing names a mirror; `need` says why one has to be asked."""
    why = f"{need}, and " if need else ""
    return FetchError(f"{why}no Debian mirror is known: this host's apt sources name none", hint=_HOW)


def config_path(variables: dict[str, str]) -> Path | None:
    """Return where the user's config is; None for a user without a home, who has none."""
    base = variables.get("XDG_CONFIG_HOME", "")
    try:
        home = Path(variables["HOME"]) if variables.get("HOME") else Path.home()
        return (Path(base) if base.startswith("/") else home / ".config") / "berth" / "config.yaml"
    except RuntimeError:
        return None


def _from_words(words: list[str], origin: str) -> Mirrors:
    if len(words) > 2:
        raise UsageError(f"{origin} has {len(words)} addresses", hint=_HOW)
    bases = [checked_base(word, origin) for word in words]
    security = bases[1] if len(bases) > 1 else _beside(bases[0], origin)
    return Mirrors(main=bases[0], security=security, origin=origin)


def checked_base(word: str, origin: str, *, what: str = "a mirror", hint: str = _HOW) -> str:
    """Return an address without a slash at its end; raise UsageError where it is none of `what`."""
    try:
        parts = urlsplit(word)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and not parts.query and not parts.fragment
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(f"{origin}: {word!r} is not the address of {what}", hint=hint)
    return word.rstrip("/")


def _beside(base: str, origin: str) -> str:
    """Return the security archive's address by that of the archive beside it; a host alone has nothing beside it."""
    if not urlsplit(base).path:
        raise UsageError(
            f"{origin}: {base} names a host, not an archive on it",
            hint=f"write {base}/debian if that is where it lies, or give the security archive as a second address",
        )
    return base + "-security"


def _from_config(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"cannot be read: {error}",
            hint="mend it or move it away: --mirror and BERTH_MIRROR need no such file",
            place=Place(file=str(path)),
        ) from None
    try:
        value: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = Place(file=str(path), line=mark.line + 1 if mark else 0, column=mark.column + 1 if mark else 0)
        raise InputError(f"not YAML: {getattr(error, 'problem', None) or 'cannot be read'}", place=place) from None
    mirror = value.get("mirror") if isinstance(value, dict) else None
    if mirror is None:
        return []
    words = [mirror] if isinstance(mirror, str) else mirror
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise InputError("`mirror` has to be an address, or a list of two", place=Place(file=str(path)), hint=_HOW)
    return words
