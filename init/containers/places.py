"""Where containers have their files while they run. Apart from all values, for the programs that start often."""

PATH = "/run/berth/containers"
