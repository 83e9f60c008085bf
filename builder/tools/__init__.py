"""Package builder/tools."""
