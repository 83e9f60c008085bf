"""Puts `tests/` on the path, so that tests of both halves share `fakes`."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))

pytest_plugins = ["filetimes"]

# A shell's background jobs ignore Ctrl-C, and so would everything that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The same cases for everybody, so that a red run is about the change it ran on; `make test-all` looks for new ones,
# and `make test-fast` takes few.
# No deadlines, no complaint of slow generation: tests assert nothing about time.
_ANY_SPEED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", _ANY_SPEED, derandomize=True, database=None)
settings.register_profile("new", _ANY_SPEED, print_blob=True)
settings.register_profile("few", settings.get_profile("same"), max_examples=10)
settings.load_profile(os.environ.get("BERTH_CASES") or ("new" if os.environ.get("BERTH_TEST_ALL") else "same"))


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    """A verb that is called in this process may ignore SIGTERM for good, and whatever is started later would, too."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)
