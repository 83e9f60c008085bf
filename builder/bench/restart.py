"""How long a container is away that ends without warning: from its end until its next start says its first word.

The container kills itself, which is what a crash is to PID 1; both instants are the guest's own.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.bench.guest import console_of, look_for_fault, once_more
from builder.emulate.options import Options
from builder.emulate.run import prepare
from builder.emulate.session import Session
from builder.errors import GuestFailed
from init.formats import events

if TYPE_CHECKING:
    from collections.abc import Iterable

    from builder.tools.call import Tools

LIVES = 15  # seconds of the container: longer than what counts as ending at once
ROUNDS = 3
PATIENCE = 300.0  # seconds
_CONFIG = f"""#cloud-config
berth:
  containers:
    web: null
    short:
      image: demo
      entrypoint: [/bin/busybox, sh, -c, "echo here; sleep {LIVES}; kill -9 $$"]
"""


@once_more
def restarts(image: Path, tools: Tools, *, memory: int, cpus: int) -> tuple[float, ...]:
    """Return the seconds of each time that the container was away. Raises GuestFailed."""
    with tempfile.TemporaryDirectory(prefix="berth-bench-") as name:
        folder = Path(name)
        options = Options(image=image, direct=True, memory=memory, cpus=cpus, config=_CONFIG.encode())
        guest, _ = prepare(options, tools=tools, folder=folder)
        with Session(guest, tools) as session:
            seen: list[dict[str, Any]] = []
            while len(found := away(seen)) < ROUNDS:
                seen += [report.event for report in session.step(1.0) if report.event is not None]
                look_for_fault(session)
                if not session.open or session.elapsed > PATIENCE:
                    what = f"the container was started again {len(found)} times in {PATIENCE:.0f} s"
                    raise GuestFailed("\n".join([what, *console_of(session)]))
            return found


def away(seen: Iterable[dict[str, Any]]) -> tuple[float, ...]:
    """Return the seconds from each end of the container to its next first word. Pure."""
    found = []
    ended: float | None = None
    for event in seen:
        if event.get("name") != "short":
            continue
        if event["event"] == events.CONTAINER_EXITED:
            ended = float(event["t"])
        elif event["event"] == events.CONTAINER_OUTPUT and ended is not None:
            found.append(float(event["t"]) - ended)
            ended = None
    return tuple(found)
