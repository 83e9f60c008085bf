"""Tells at the end of a run, also of one that passed, how often a guest died of the emulator's known fault.

A plug-in of pytest. What a test prints is kept from people when it passes, and with several workers each counts its
own; so the count goes with the report of the test that it happened in.
"""

from __future__ import annotations

from collections.abc import Generator

import machine
import pytest
from pluggy import Result

from builder.emulate import fault

_NAME = "guests started once more"
_told: dict[str, int] = {}  # by test
_counted = 0


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Result[pytest.TestReport], None]:
    """Where the test ran: put what was counted since the last report into this one."""
    global _counted  # noqa: PLW0603 - as the machines' own count, over the whole run
    made = yield
    if machine.retries > _counted:
        made.get_result().user_properties.append((_NAME, machine.retries - _counted))
        _counted = machine.retries


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Where the run is told: add it up."""
    for name, count in report.user_properties:
        if name == _NAME and isinstance(count, int):
            _told[report.nodeid] = _told.get(report.nodeid, 0) + count


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say it, if there was any."""
    for test, count in _told.items():
        terminalreporter.write_line(f"{fault.TOLD} ({count}): {test}")
