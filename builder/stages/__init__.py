"""Package builder/stages."""
