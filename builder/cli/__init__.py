"""Package builder/cli."""
