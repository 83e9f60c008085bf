"""Recipes: read, merged and checked; `load` is the door."""

from builder.recipe.asked import Asked, asked_for
from builder.recipe.diagnose import RecipeErrors
from builder.recipe.machine import CompiledMachine, compile_machine
from builder.recipe.model import Recipe
from builder.recipe.parse import find, load

__all__ = [
    "Asked", "CompiledMachine", "Recipe", "RecipeErrors", "asked_for", "compile_machine", "find", "load",
]  # fmt: skip
