"""Run one command and measure it: a process of its own, so that memory is that command's and its children's alone.

As a program it is given the command, and prints one JSON object on its last line of standard output.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from builder.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """Seconds by the clock, seconds of processor, and bytes of the largest process among all of them."""

    seconds: float
    processor: float
    memory: int


def measure(argv: Sequence[str], *, cwd: Path, environment: Mapping[str, str]) -> Measured:
    """Run `argv` to its end; raise BuildError with its last words where it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "builder.bench.measured", *argv],
        cwd=cwd, env=dict(environment), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise BuildError(f"`{' '.join(argv[:6])} …` failed:\n{done.stderr.strip()[-1500:]}")
    return parse(done.stdout)


def parse(output: str) -> Measured:
    """Read what the program printed."""
    value = json.loads(output.strip().rpartition("\n")[2])
    return Measured(seconds=float(value["seconds"]), processor=float(value["processor"]), memory=int(value["memory"]))


def main(argv: Sequence[str]) -> int:
    """Run the command and print how it was."""
    started = time.monotonic()
    status = subprocess.run(argv, stdout=subprocess.DEVNULL, check=False).returncode
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = Measured(
        seconds=time.monotonic() - started,
        processor=usage.ru_utime + usage.ru_stime,
        memory=usage.ru_maxrss * 1024,
    )
    sys.stdout.write(json.dumps(asdict(found)) + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
