"""Package builder/fetch."""
