"""Package init/pid1."""
