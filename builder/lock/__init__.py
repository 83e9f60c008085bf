"""Package builder/lock."""
