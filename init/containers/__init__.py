"""Package init/containers."""
