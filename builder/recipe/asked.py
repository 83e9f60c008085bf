"""How a user asked for a recipe: cures of failures repeat it word for word, so that they work where they are read."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from builder.recipe.model import Recipe


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A recipe by the name or path that was given, and the lock beside it.

    `more` are the options that decide which packages are needed: `--set KEY=VALUE`, `--heal`.
    """

    given: str
    lock: Path
    more: tuple[str, ...] = ()

    def to_fetch(self) -> str:
        """Return the command that brings what this very build needs."""
        return shlex.join(["berth", "fetch", self.given, *self.more])

    def to_lock(self, *options: str) -> str:
        """Return the command that locks the recipe; it takes no `--set`, for a lock belongs to a recipe's file."""
        return shlex.join(["berth", "lock", self.given, *options])


def asked_for(recipe: Recipe, *more: str) -> Asked:
    """Return how `recipe` was asked for, with its `--set` and with `more` options."""
    sets = [word for each in recipe.sets for word in ("--set", each)]
    return Asked(given=recipe.given or str(recipe.path), lock=recipe.path.with_suffix(".lock"), more=(*sets, *more))


def beside_lock(lock: Path) -> Asked:
    """Return how the recipe beside a lock can be asked for, where nobody said how it was."""
    return Asked(given=str(lock.with_suffix(".yaml")), lock=lock)
