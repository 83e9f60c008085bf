"""Package builder/image."""
