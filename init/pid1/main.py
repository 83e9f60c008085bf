"""PID 1's first lines: what loads drivers is imported and set to work, then the rest is imported beside it."""

from __future__ import annotations

import init.light  # first: whatever is imported from here on makes its values the light way
import init.lightjson  # noqa: F401 - and writes them so

# isort: split
from init.pid1 import forerun
from init.pid1.linux.kernel import Kernel


def main() -> None:
    """Run as PID 1. Never returns on a real machine."""
    kernel = Kernel()
    forerun.begin(kernel)
    from init.pid1 import halves  # noqa: PLC0415 - so that the drivers' child works meanwhile

    halves.begin(kernel)
