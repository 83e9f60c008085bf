"""Tells at the end of a run how long each file's tests took: a file runs on one worker, so the longest bound the run.

A plug-in of pytest. The seconds are a worker's, with its fixtures; two workers run side by side.
"""

from __future__ import annotations

from collections import defaultdict

import pytest

TOLD = 5.0  # seconds: what took less is told as one sum

_seconds: defaultdict[str, float] = defaultdict(float)  # by file
_slow: defaultdict[str, float] = defaultdict(float)  # those of them that `make test` leaves out


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Where the run is told: add up set-up, test and tear-down."""
    name = report.nodeid.partition("::")[0]
    _seconds[name] += report.duration
    if "slow" in report.keywords:
        _slow[name] += report.duration


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the files, longest first."""
    terminalreporter.section("seconds by file")
    told = {name: seconds for name, seconds in _seconds.items() if seconds >= TOLD}
    for name, seconds in sorted(told.items(), key=lambda each: -each[1]):
        slow = f", {_slow[name]:.0f} of them slow tests" if _slow[name] else ""
        terminalreporter.write_line(f"{seconds:6.0f} s  {name}{slow}")
    if others := _seconds.keys() - told.keys():
        terminalreporter.write_line(f"{sum(_seconds[name] for name in others):6.0f} s  in {len(others)} others")
