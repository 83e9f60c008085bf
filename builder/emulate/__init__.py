"""Package builder/emulate."""
