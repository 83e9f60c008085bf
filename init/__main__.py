"""The programs of the machine: `python3 -ISB /usr/lib/berth/app PROGRAM …` starts one by its first word.

Each is imported only when it is asked for, so that none pays for another's imports.
"""

from __future__ import annotations

import importlib
import sys

PROGRAMS = {
    "berthctl": ("init.berthctl.main", "talks to PID 1"),
    "install": ("init.installer.main", "installs from the live ISO to a disk; a child of PID 1"),
    "config": ("init.dialects.machine_config", "compiles the machine's configuration; a child of PID 1"),
    "container": ("init.containers.run", "starts one declared container; a child of PID 1"),
    "updater": ("init.updater.main", "takes a release into the other slot; a child of PID 1"),
    "rescue": ("init.rescue.main", "the way into a machine in rescue; a child of PID 1"),
    "slot-evidence": ("init.updater.evidence", "reads a slot that came back; a child of PID 1"),
    "phone-home": ("init.phonehome", "tells a URL that the machine is up; a child of PID 1"),
    "former-logs": ("init.berthctl.formerlogs", "reads the logs of a boot before; a child of PID 1"),
    "probe": ("init.containers.probe", "asks a container's health once; a child of PID 1"),
}
# These start often, or while a boot waits for them. The others make no values, or more than the light ones do.
LIGHT = ("container", "probe")


def main(arguments: list[str] | None = None) -> int:
    """Start the program that the first word names; return its exit status (2: there is none of that name)."""
    words = sys.argv[1:] if arguments is None else arguments
    if not words or words[0] not in PROGRAMS:
        known = "\n".join(f"  {name:<13} {purpose}" for name, (_, purpose) in PROGRAMS.items())
        sys.stderr.write(f"usage: init PROGRAM …\n\nPrograms:\n{known}\n")
        return 2
    if words[0] in LIGHT:
        import init.light  # noqa: PLC0415 - before the first value is made
        import init.lightjson  # noqa: F401, PLC0415
    module = importlib.import_module(PROGRAMS[words[0]][0])
    status = module.main(words[1:])
    return status if isinstance(status, int) else 0


if __name__ == "__main__":
    raise SystemExit(main())
