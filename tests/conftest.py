"""Puts `tests/` on the path, so that tests of both halves share `fakes`."""

import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))


# A shell's background jobs ignore Ctrl-C, and so would everything that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
