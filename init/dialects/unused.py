"""What the command line and the firmware name as a configuration and can't be used: each said, none dropped silently.

What was looked for and is not there is told by `init.dialects.sources`, which knows what was found instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from init.dialects import nocloud
from init.dialects.diagnostic import Diagnostic, Place, Severity
from init.dialects.netseed import is_remote, shown
from init.dialects.sources import URL_KEYS, Places, texts

_WORD = re.compile(r"[A-Za-z0-9_.-]{1,40}")  # what a message may quote of a line that may hold secrets


def unused(places: Places) -> tuple[Diagnostic, ...]:
    """Return a warning for each configuration that is named and can't be used, and for each word without effect."""
    return tuple(
        Diagnostic(severity=Severity.WARNING, place=Place(source), path="", message=message, hint=hint, code="unused")
        for source, text in texts(places)
        for message, hint in _of(text, places)
    )


def _of(text: dict[str, str], places: Places) -> Iterator[tuple[str, str | None]]:
    said = nocloud.parse_line(text.get("ds", ""))
    if said is None and text.get("ds"):
        yield f"the data source {_named(text['ds'].split(';')[0])} is not read here", "write `ds=nocloud;s=URL/`"
    if said is not None:
        for word in said.unknown:
            yield f"{_named(word)} of `ds=nocloud` is not acted on", "`s`, `h` and `i` are"
        if said.seed is not None:
            url = nocloud.with_dmi(said.seed, places.smbios)
            if not is_remote(url) and not url.startswith(("/", "file://")):
                yield _address(url), "write `s=http://…/`, `s=https://…/`, or the path of a folder on the machine"
    for key in URL_KEYS:
        if key in text and not is_remote(text[key]):
            yield _address(text[key]), f"write `{key}=http://…` or `{key}=https://…`"


def _address(url: str) -> str:
    place = shown(url) or "an empty address"
    return f"no configuration from {place}: no such address can be asked; the next source counts"


def _named(word: str) -> str:
    return f"`{word}`" if _WORD.fullmatch(word) else "that is named"
