"""Run one command and measure it: a process of its own, so that memory is that command's and its children's alone.

As a program it is given the command, and prints one JSON object on its last line of standard output.
"""

from __future__ import annotations

import contextlib
import json
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from builder.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LOOK = 0.2  # seconds between looks at its memory


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """Seconds by the clock, seconds of processor, and the most bytes that all its processes held together."""

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


def held(top: int) -> int:
    """Return the bytes that a process and all below it hold now: proportional set sizes (proc(5), smaps_rollup)."""
    below: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(path.read_bytes().rpartition(b")")[2].split()[1])
            below.setdefault(parent, []).append(int(path.parent.name))
    size, found = 0, [top]
    for process in found:
        found += below.get(process, [])
        with contextlib.suppress(OSError):  # it has ended meanwhile
            for line in Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines():
                if line.startswith("Pss:"):
                    size += int(line.split()[1]) * 1024
    return size


def main(argv: Sequence[str]) -> int:
    """Run the command and print how it was."""
    started, most = time.monotonic(), 0
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            most = max(most, held(process.pid))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_LOOK)
        status = process.returncode
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = Measured(
        seconds=time.monotonic() - started,
        processor=usage.ru_utime + usage.ru_stime,
        memory=max(most, usage.ru_maxrss * 1024),  # one that ended between two looks counts alone
    )
    sys.stdout.write(json.dumps(asdict(found)) + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
