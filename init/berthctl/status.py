"""`berthctl status`: the machine on one screen of 24 lines, as wide as the terminal, 80 columns without one."""

from __future__ import annotations

from init.berthctl import show, talk
from init.berthctl.facts import Fact, told
from init.formats.screen import COLUMNS, LINES, MORE, columns, cut, safe

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

HELP = "the machine on one screen: release, slots, health, config, containers"
EXAMPLES = ("berthctl status", "berthctl status --json", "berthctl status --wait && echo all is well")
_ROWS_LEAST = 3  # containers that are shown whatever else there is
_REASONS_MOST = 4
_WORD_MOST = 12  # columns of a container's state
_HEAD = ("CONTAINER", "STATE", "HEALTH", "RESTARTS", "IMAGE")
_KEYS = ("name", "state", "health", "restarts", "image")
_NARROW = 60  # columns: below it a container's restarts and image are left out


def add(parser: argparse.ArgumentParser) -> None:
    """Add the argument."""
    parser.add_argument(
        "--wait", action="store_true", help="until it is known whether all is well; status 1 where it is not"
    )


def run(arguments: argparse.Namespace) -> int:
    """Ask and show."""
    request: dict[str, object] = {"verb": "status"}
    if arguments.wait:
        tell = None if arguments.json else _waited_for
        answer = talk.settled(request, arguments.socket, lambda found: _health_of(found) == "pending", tell)
    else:
        answer = talk.one(request, arguments.socket)
    if arguments.json:
        show.as_json(answer)
    else:
        print("\n".join(screen(answer, show.width())))
    return 1 if arguments.wait and _health_of(answer) != "healthy" else 0


def _health_of(answer: dict[str, object]) -> str:
    return str(show.mapping(answer.get("health")).get("state"))


def _waited_for(answer: dict[str, object]) -> str:
    reasons = show.texts(show.mapping(answer.get("health")).get("reasons"))
    return safe(f"pending: {'; '.join(reasons) or 'its time is not over yet'}")


def screen(answer: dict[str, object], width: int = COLUMNS) -> list[str]:
    """Return the screen: at most 24 lines of it, none wider than `width` columns; what does not fit is counted."""
    rows = [[safe(str(row.get(key, ""))) for key in _KEYS] for row in show.items(answer.get("containers"))]
    room = LINES - 2 - min(len(rows), _ROWS_LEAST)
    lines = told([*_machine(answer), *_slots(answer), *_health(answer)], room, width)
    if not rows:
        return [*lines, "", cut("no containers are declared", width)]
    return [*lines, "", *_containers(rows, LINES - len(lines) - 2, width)]


def _containers(rows: list[list[str]], room: int, width: int) -> list[str]:
    """Return the table of at most `room` rows. Where they don't all fit, those that are not well come first."""
    shown, left = rows, ""
    if len(rows) > room:
        shown = sorted(rows, key=lambda row: row[2] == "healthy")[: room - 1]
        left = f"{MORE} and {len(rows) - room + 1} more: berthctl ps"
    many = len(_HEAD) if width >= _NARROW else 3
    table = show.table(_HEAD[:many], [row[:many] for row in _fitted(shown, width, many)])
    return [*table, left] if left else table


def _fitted(rows: list[list[str]], width: int, many: int) -> list[list[str]]:
    """Cut names and images, which may be of any length, so that the first `many` columns of the table fit."""
    rows = [[row[0], *(cut(cell, _WORD_MOST) for cell in row[1:4]), row[4]] for row in rows]
    wide = [max(columns(row[at]) for row in (_HEAD, *rows)) for at in range(len(_HEAD))]
    left = width - sum(wide[1 : min(many, 4)]) - 2 * (many - 1)
    if many < len(_HEAD):
        return [[cut(row[0], left), *row[1:]] for row in rows]
    name = min(wide[0], max(left - wide[4], left * 3 // 5))
    return [[cut(row[0], name), *row[1:4], cut(row[4], left - name)] for row in rows]


def _machine(answer: dict[str, object]) -> list[Fact]:
    state, memory = show.mapping(answer.get("state")), show.mapping(answer.get("memory"))
    where = {"ext4": "on disk", "memory": "in memory", "none": "none"}.get(str(state.get("kind")), "?")
    kept = show.texts(state.get("kept"))
    lasts = f"{' '.join(kept)}; not /etc /run /tmp" if kept else "nothing: what is written is gone at power-off"
    free = f", {show.size(state.get('free'))} free" if state.get("free") is not None else ""
    addresses = "; ".join(
        f"{name} {' '.join(show.texts(values))}" for name, values in show.mapping(answer.get("addresses")).items()
    )
    dog = show.mapping(answer.get("watchdog"))
    kind = " (software: no help when the kernel hangs)" if dog.get("software") else ""
    watch = f"{dog.get('identity')}, {dog.get('seconds')} s{kind}" if dog else "none"
    free_memory = f"{show.size(memory.get('available'))} of {show.size(memory.get('total'))} memory available"
    medium = f"  {answer.get('class')}, booted from {answer.get('media')}"
    return [
        Fact("machine", f"{answer.get('hostname')}  {answer.get('machine_id')}", rank=3, most=2),
        Fact("release", str(answer.get("version")), tail=medium, rank=3, most=2),
        Fact("up", f"{show.duration(answer.get('uptime'))}, {free_memory}", rank=6),
        Fact("state", f"{where}{free}", rank=5),
        Fact("kept", lasts, rank=6, most=2),
        Fact("network", addresses or "no address", rank=4, most=3),
        Fact("watchdog", watch, rank=7, most=2),
    ]


def _following(order: str, slots: dict[str, object]) -> str | None:
    """Return the slot that GRUB takes next: the first in order that has a try."""
    return next((name for name in order if show.mapping(slots.get(name)).get("tries")), None)


def _slots(answer: dict[str, object]) -> list[Fact]:
    slots = show.mapping(answer.get("slots"))
    following = _following(str(answer.get("order") or ""), slots)
    facts = []
    for name in sorted(slots):
        slot = show.mapping(slots[name])
        marks = [
            "confirmed" if slot.get("good") else "not confirmed",
            f"{slot.get('tries')} tries left",
            *(["running"] if slot.get("booted") else ["boots next"] if name == following else []),
        ]
        facts.append(
            Fact(f"slot {name}", str(slot.get("version") or "–"), tail=f"  {', '.join(marks)}", rank=2, most=2)
        )
    last = show.mapping(answer.get("last_return"))
    if last:
        detail = f" ({last.get('detail')})" if last.get("detail") else ""
        said = f"{last.get('from') or '?'}: {last.get('reason')}{detail}, {last.get('at')}"
        facts.append(Fact("came back", said, rank=1, most=3))
    return facts


def _health(answer: dict[str, object]) -> list[Fact]:
    health, config = show.mapping(answer.get("health")), show.mapping(answer.get("config"))
    update = show.mapping(answer.get("update"))
    facts = [Fact("health", str(health.get("state")), rank=0, kind="word")]
    reasons = show.texts(health.get("reasons"))
    facts += [Fact("", reason, rank=0, most=3) for reason in reasons[:_REASONS_MOST]]
    if len(reasons) > _REASONS_MOST:
        facts.append(Fact("", f"{MORE} and {len(reasons) - _REASONS_MOST} more: berthctl status --json", rank=0))
    sha256 = f" {str(config.get('sha256') or '')[:12]}".rstrip()
    facts.append(Fact("config", str(config.get("source")), tail=sha256, rank=4))
    if config.get("refused"):
        facts.append(Fact("", f"refused: {config['refused']}", rank=1, most=4, kind="bad"))
    if update.get("repository"):
        policy = f" {update.get('channel')}, {update.get('policy')}"
        facts.append(Fact("updates", str(update.get("repository")), tail=policy, rank=5, most=2))
    return facts
