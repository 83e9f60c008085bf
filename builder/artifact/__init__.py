"""Package builder/artifact."""
