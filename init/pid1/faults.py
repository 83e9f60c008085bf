"""What goes wrong is said on the console with its last words: who stands there may have no way to ask for the log."""

from __future__ import annotations

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from init.pid1.console import Console
    from init.pid1.logs import Logs


class Faults:
    """Each fault is told once, when it comes; one that went and came again is told again."""

    def __init__(self, console: Console, logs: Logs) -> None:
        self._console = console
        self._logs = logs
        self._told: frozenset[str] = frozenset()

    def tell(self, wrong: Mapping[str, str]) -> None:
        """Tell what is new of `wrong`: a sentence for each service that is not as it should be."""
        for name, sentence in wrong.items():
            if name not in self._told:
                last = self._logs.last.get(name, "")
                self._console.say(f"{sentence}: {last}" if last else sentence)
        self._told = frozenset(wrong)
