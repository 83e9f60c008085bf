"""Puts `tests/` on the path, so that tests of both halves share `fakes`."""

import os
import signal
import sys
from pathlib import Path

from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))


# A shell's background jobs ignore Ctrl-C, and so would everything that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The same cases for everybody, so that a red run is about the change it ran on; `make test-all` looks for new ones.
# No deadlines: tests assert nothing about time.
settings.register_profile("same", derandomize=True, deadline=None, database=None)
settings.register_profile("new", deadline=None, print_blob=True)
settings.load_profile("new" if os.environ.get("BERTH_TEST_ALL") else "same")
