"""The tools tree: the programs that a build drives, unpacked from locked packages and started in place."""
