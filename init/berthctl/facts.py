"""Facts in lines: the most important get lines to fold into, the least important go where there is no room."""

from __future__ import annotations

from init.berthctl import show
from init.formats.screen import columns, cut, fold, safe

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

LABEL = 11  # columns of a fact's name


class Fact:
    """One thing that is told: its name, and a text in at most `most` lines, `tail` always behind it.

    `rank`: 0 is what matters most. `kind`: the colour of `show.paint`, or `word` for a state's word. (No dataclass:
    that module's import would take longer than all the rest of a verb.)
    """

    def __init__(self, name: str, text: str, *, rank: int, tail: str = "", most: int = 1, kind: str = "") -> None:
        self.name = cut(safe(name), LABEL - 1)
        self.text = safe(text)
        self.tail = safe(tail)
        self.rank = rank
        self.most = most
        self.kind = kind

    def lines(self, room: int, width: int) -> list[str]:
        """Return it in at most `room` lines of `width` columns."""
        inside = width - LABEL
        most = min(self.most, room)
        if most > 1:
            found = fold(self.text + self.tail, inside, most)
        else:
            found = [cut(cut(self.text, max(inside - columns(self.tail), 1)) + self.tail, inside)]
        return [
            f"{'' if number else self.name:<{LABEL}}{self._painted(line)}".rstrip() for number, line in enumerate(found)
        ]

    def _painted(self, line: str) -> str:
        if self.kind == "word":
            return show.word(line)
        return show.paint(line, self.kind) if self.kind else line


def told(facts: Sequence[Fact], room: int, width: int) -> list[str]:
    """Return facts in their order, in at most `room` lines of `width` columns."""
    by_rank = sorted(range(len(facts)), key=lambda number: facts[number].rank)[:room]
    spare = room - len(by_rank)
    found = {}
    for number in by_rank:
        found[number] = facts[number].lines(spare + 1, width)
        spare -= len(found[number]) - 1
    return [line for number in sorted(found) for line in found[number]]
