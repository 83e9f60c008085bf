"""Reads apt's sources of the host, in both formats of sources.list(5), to find a Debian mirror.

A host may be no Debian, or have other vendors' archives beside it. A source counts as Debian's when its suite is
one of Debian's code names, its components have `main`, and it is either checked with Debian's archive keys or lies
below a path whose last part is `debian` or `debian-security`. A wrong guess fails at the signature.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

_CODE_NAMES = frozenset(
    [
        "buster",
        "bullseye",
        "bookworm",
        "trixie",
        "forky",
        "duke",
        "sid",
        "oldoldstable",
        "oldstable",
        "stable",
        "testing",
        "unstable",
    ]
)
_SECURITY_SUFFIXES = ("-security",)
_OTHER_SUFFIXES = ("-updates", "-backports", "-proposed-updates")


@dataclass(frozen=True, kw_only=True, slots=True)
class AptSource:
    """One address with one set of suites, as either format says it."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str
    origin: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundMirror:
    """Base addresses that the host's apt uses, without a slash at the end; `security` is None where not named."""

    main: str
    security: str | None
    origin: Path


def read_sources(folder: Path) -> FoundMirror | None:
    """Return the Debian mirror of the sources below `folder` (`/etc/apt`), or None."""
    main: tuple[str, Path] | None = None
    security: str | None = None
    for source in _all_sources(folder):
        kind = _kind(source)
        base = _base(source.uri)
        if kind is None or base is None:
            continue
        if kind == "security":
            security = security or base
        elif main is None:
            main = (base, source.origin)
    return FoundMirror(main=main[0], security=security, origin=main[1]) if main else None


def _all_sources(folder: Path) -> list[AptSource]:
    # The order in which apt reads them: the one file, then the parts by name.
    paths = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]
    found: list[AptSource] = []
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue  # absent, or not for us to read: another source may do
        if path.suffix == ".list":
            found += parse_one_line(text, path)
        elif path.suffix == ".sources":
            found += parse_deb822(text, path)
    return found


def parse_one_line(text: str, origin: Path) -> list[AptSource]:
    """Parse `deb [options] uri suite components…` lines."""
    found = []
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s*([^#]*)", line)
        if not match:
            continue
        options = dict(part.partition("=")[::2] for part in (match[1] or "").split())
        found.append(
            AptSource(
                uri=match[2],
                suites=(match[3],),
                components=tuple(match[4].split()),
                signed_by=options.get("signed-by", ""),
                origin=origin,
            )
        )
    return found


def parse_deb822(text: str, origin: Path) -> list[AptSource]:
    """Parse paragraphs of `Types:`, `URIs:`, `Suites:`, `Components:`."""
    found = []
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for paragraph in re.split(r"\n[ \t]*\n", "\n".join(lines)):
        fields = _fields(paragraph)
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in {"no", "false", "0"}:
            continue
        found += [
            AptSource(
                uri=uri,
                suites=tuple(fields.get("suites", "").split()),
                components=tuple(fields.get("components", "").split()),
                signed_by=fields.get("signed-by", ""),
                origin=origin,
            )
            for uri in fields.get("uris", "").split()
        ]
    return found


def _fields(paragraph: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    last = ""
    for line in paragraph.splitlines():
        if line[:1] in {" ", "\t"}:
            if last:
                fields[last] += " " + line.strip()
            continue
        name, colon, value = line.partition(":")
        if colon:
            last = name.strip().lower()
            fields[last] = value.strip()
    return fields


def _kind(source: AptSource) -> str | None:
    """Say whether the source is Debian's `main` archive, its `security` archive, or neither (None)."""
    if "main" not in source.components:
        return None
    path = urlsplit(source.uri).path.rstrip("/").rpartition("/")[2]
    if "debian-archive" not in source.signed_by and path not in {
        "debian",
        "debian-security",
        "debian.list",
        "debian-security.list",
    }:
        return None
    kinds = set()
    for suite in source.suites:
        name = suite.removesuffix("/updates")  # how the security suite was named up to buster
        for suffix in _SECURITY_SUFFIXES + _OTHER_SUFFIXES:
            name = name.removesuffix(suffix)
        if name not in _CODE_NAMES:
            return None
        kinds.add("security" if suite.endswith(("-security", "/updates")) else "main")
    return kinds.pop() if len(kinds) == 1 else None


def _base(uri: str) -> str | None:
    """Return the base address of a URI; Debian's cloud images name a file with a list (`mirror+file:`)."""
    if uri.startswith("mirror+file:"):
        try:
            lines = Path(unquote(urlsplit(uri).path)).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            return None
        uri = next((line.split()[0] for line in lines if line.strip() and not line.startswith("#")), "")
    return uri.rstrip("/") if uri.startswith(("http://", "https://")) else None
