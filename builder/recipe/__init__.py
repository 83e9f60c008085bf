"""Package builder/recipe."""
