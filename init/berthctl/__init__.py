"""Package init/berthctl."""
