"""Package builder/images."""
