"""Facts that the builder and the machine must agree on, each written once. Standard library only, no I/O."""
