"""What the early half leaves to the running half: what was booted, from where, and what stays open."""

from __future__ import annotations

from dataclasses import dataclass, field

from init.formats import bootphase, cmdline
from init.pid1.state import NO_STATE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from init.formats.release import Release
    from init.pid1.devices import Devices
    from init.pid1.state import Growth, StateMount
    from init.pid1.system import Watchdog


@dataclass(frozen=True, kw_only=True, slots=True)
class EarlyResult:
    """How the early half ended: `outcome` is `root`, `rescue` or `reboot`, `reason` a sentence for the latter two."""

    outcome: str
    reason: str = ""
    command_line: cmdline.CommandLine = field(default_factory=lambda: cmdline.parse(""))
    release: Release | None = None
    media: str = "direct"  # `disk`, `iso`, `direct`
    slot: str | None = None
    disk: str | None = None
    medium: str | None = None
    record: tuple[str, ...] = ()
    last_phase: bootphase.BootPhase | None = None  # what the boot before this one came to
    state: StateMount = NO_STATE
    growth: Growth | None = None
    machine_id: str = ""
    degraded: tuple[str, ...] = ()
    watchdog: Watchdog | None = None
    uevents: int | None = None
    devices: Devices | None = None
    unmount: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()
