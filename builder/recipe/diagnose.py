"""The error that holds everything that is wrong with a recipe."""

from __future__ import annotations

from builder.errors import Place, RecipeError
from init.dialects.diagnostic import Diagnostic, Severity


class RecipeErrors(RecipeError):
    """All errors of a recipe at once; `diagnostics` holds its warnings, too."""

    def __init__(self, diagnostics: tuple[Diagnostic, ...]) -> None:
        errors = [each for each in diagnostics if each.severity is Severity.ERROR]
        first = errors[0]
        super().__init__(_summary(errors), hint=first.hint if len(errors) == 1 else None, place=place(first))
        self.diagnostics = diagnostics


def place(diagnostic: Diagnostic) -> Place:
    """Return the place of a finding as the builder's errors have it."""
    return Place(file=diagnostic.place.file, line=diagnostic.place.line, column=diagnostic.place.column)


def _summary(errors: list[Diagnostic]) -> str:
    lines = [_line(each) for each in errors]
    if len(lines) == 1:
        return lines[0]
    where = [
        f"{place(each)}: {line}" + (f" ({each.hint})" if each.hint else "")
        for each, line in zip(errors, lines, strict=True)
    ]
    return f"{len(lines)} errors\n" + "\n".join(f"  {each}" for each in where)


def _line(diagnostic: Diagnostic) -> str:
    return f"{diagnostic.path}: {diagnostic.message}" if diagnostic.path else diagnostic.message
