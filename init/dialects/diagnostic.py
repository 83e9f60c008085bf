"""What the compiler has to say about a document: one value per finding, and the report that collects them.

A message never quotes a value, for any value may be a secret; keys are named.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


class Severity(enum.StrEnum):
    """An error refuses the document, a warning says that something is not acted on, a note that a form is old."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a file something stands. Lines and columns count from 1; 0 means unknown."""

    file: str
    line: int = 0
    column: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnostic:
    """One finding. `path` is the key's (`berth.containers.web.ports[0]`), `code` a word for programs."""

    severity: Severity
    place: Place
    path: str
    message: str
    hint: str | None = None
    code: str = "invalid"

    def to_json(self) -> dict[str, Any]:
        """Return the form of `berth check --json` (docs/formats.md)."""
        return {
            "severity": self.severity.value,
            "file": self.place.file,
            "line": self.place.line,
            "column": self.place.column,
            "path": self.path,
            "message": self.message,
            "hint": self.hint,
            "code": self.code,
        }

    def __str__(self) -> str:
        where = ":".join(str(part) for part in (self.place.file, self.place.line, self.place.column) if part)
        path = f" ({self.path})" if self.path else ""
        hint = f"\n    {self.hint}" if self.hint else ""
        return f"{where}: {self.severity.value}: {self.message}{path}{hint}"


class Unreadable(Exception):
    """A document of which no tree can be made; holds the diagnostic that says why."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic


class Report:
    """Collects findings, at most `limit` of them: a hostile document must not make an endless answer."""

    def __init__(self, limit: int = 200) -> None:
        self._found: list[Diagnostic] = []
        self._limit = limit
        self._left_out = 0
        self._errors = 0

    def add(self, diagnostic: Diagnostic) -> None:
        """Keep a finding; the same one twice is kept once."""
        if diagnostic.severity is Severity.ERROR:
            self._errors += 1
        if len(self._found) >= self._limit:
            self._left_out += 1
        elif diagnostic not in self._found:
            self._found.append(diagnostic)

    def error(self, place: Place, path: str, message: str, *, hint: str | None = None, code: str = "invalid") -> None:
        """Report what refuses the document."""
        severity = Severity.ERROR
        self.add(Diagnostic(severity=severity, place=place, path=path, message=message, hint=hint, code=code))

    def warn(self, place: Place, path: str, message: str, *, hint: str | None = None, code: str = "ignored") -> None:
        """Report what is not acted on, or reads otherwise than it looks."""
        severity = Severity.WARNING
        self.add(Diagnostic(severity=severity, place=place, path=path, message=message, hint=hint, code=code))

    def note(self, place: Place, path: str, message: str, *, hint: str | None = None, code: str = "note") -> None:
        """Report what works, and that there is a better form."""
        severity = Severity.NOTE
        self.add(Diagnostic(severity=severity, place=place, path=path, message=message, hint=hint, code=code))

    @property
    def errors(self) -> int:
        """How many errors were reported, those beyond the limit too."""
        return self._errors

    @property
    def is_full(self) -> bool:
        """Tell whether further findings are only counted: what costs time to say need not be said."""
        return len(self._found) >= self._limit

    def all(self) -> tuple[Diagnostic, ...]:
        """Return the findings in the order of files and lines."""
        found = sorted(self._found, key=lambda each: (each.place.file, each.place.line, each.place.column))
        if self._left_out:
            found.append(
                Diagnostic(
                    severity=Severity.ERROR if self._errors else Severity.WARNING,
                    place=Place(found[-1].place.file),
                    path="",
                    message=f"{self._left_out} more findings are not shown",
                    code="too-many",
                )
            )
        return tuple(found)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that was probably meant, or None."""
    import difflib  # noqa: PLC0415 - only a document with an error pays for it

    folded = {each.lower().replace("-", "_"): each for each in known}
    close = difflib.get_close_matches(word[:80].lower().replace("-", "_"), folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else None
