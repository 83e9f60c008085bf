"""How TUF's metadata is written, and how long each kind of it lasts."""

from __future__ import annotations

import datetime

from tuf.api.serialization.json import JSONSerializer

from builder.errors import InputError

TEXT = JSONSerializer(compact=False)  # people read it; signatures are over the canonical form
# Days. Long enough for who publishes once a month and has no cron job; who has one gives less.
LIFETIMES = {"root": 730, "targets": 365, "snapshot": 90, "timestamp": 30}
_MOST = 3650


def lifetime(role: str, days: int | None = None) -> datetime.timedelta:
    """Return how long a role's metadata lasts; raise InputError for days out of bounds."""
    chosen = LIFETIMES[role] if days is None else days
    if not 1 <= chosen <= _MOST:
        raise InputError(f"{role} metadata lasts from 1 to {_MOST} days, not {chosen}")
    return datetime.timedelta(days=chosen)


def parse_lifetimes(words: list[str]) -> dict[str, int]:
    """Read `ROLE=DAYS` words; raise InputError."""
    found = {}
    for word in words:
        role, _, days = word.partition("=")
        if role not in LIFETIMES or not days.isdecimal():
            raise InputError(
                f"--expires {word}: expected ROLE=DAYS with a role of {', '.join(LIFETIMES)}",
                hint="for example --expires timestamp=7",
            )
        found[role] = int(days)
        lifetime(role, found[role])
    return found
