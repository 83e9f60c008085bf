"""Tells at the end of a run how long each file's tests took: a file runs on one worker, so the longest bound the run.

A plug-in of pytest. The seconds are a worker's, with its fixtures; two workers run side by side.
"""

from __future__ import annotations

from collections import defaultdict

import pytest

_seconds: defaultdict[str, float] = defaultdict(float)  # by file


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Where the run is told: add up set-up, test and tear-down."""
    _seconds[report.nodeid.partition("::")[0]] += report.duration


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the files, longest first."""
    terminalreporter.section("seconds by file")
    for name, seconds in sorted(_seconds.items(), key=lambda each: -each[1]):
        terminalreporter.write_line(f"{seconds:6.0f} s  {name}")
