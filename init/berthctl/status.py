"""`berthctl status`: the machine on one screen of 24 lines."""

from __future__ import annotations

from init.berthctl import show, talk

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

HELP = "the machine on one screen: release, slots, health, config, containers"
EXAMPLES = ("berthctl status", "berthctl status --json", "berthctl status --wait && echo all is well")
SCREEN = 24  # lines
_CONTAINERS_LEAST = 3


def add(parser: argparse.ArgumentParser) -> None:
    """Add the argument."""
    parser.add_argument(
        "--wait", action="store_true", help="until it is known whether all is well; status 1 where it is not"
    )


def run(arguments: argparse.Namespace) -> int:
    """Ask and show."""
    request: dict[str, object] = {"verb": "status"}
    if arguments.wait:
        answer = talk.settled(request, arguments.socket, lambda found: _health_of(found) == "pending")
    else:
        answer = talk.one(request, arguments.socket)
    if arguments.json:
        show.as_json(answer)
    else:
        print("\n".join(screen(answer)))
    return 1 if arguments.wait and _health_of(answer) != "healthy" else 0


def _health_of(answer: dict[str, object]) -> str:
    return str(show.mapping(answer.get("health")).get("state"))


def screen(answer: dict[str, object]) -> list[str]:
    """Return the screen, at most 24 lines of it; what does not fit is counted."""
    lines = _machine(answer) + _slots(answer) + _health(answer)
    lines = lines[: SCREEN - _CONTAINERS_LEAST - 2]
    containers = show.items(answer.get("containers"))
    if not containers:
        return [*lines, "", "no containers are declared"][:SCREEN]
    rows = [[str(row.get(key, "")) for key in ("name", "state", "health", "restarts", "image")] for row in containers]
    room = SCREEN - len(lines) - 2
    shown = rows if len(rows) <= room else rows[: room - 1]
    lines += ["", *show.table(("CONTAINER", "STATE", "HEALTH", "RESTARTS", "IMAGE"), shown)]
    if len(shown) < len(rows):
        lines.append(f"… and {len(rows) - len(shown)} more: berthctl ps")
    return lines


def _line(name: str, text: str) -> str:
    return f"{name:<10} {text}"


def _machine(answer: dict[str, object]) -> list[str]:
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
    return [
        _line("machine", f"{answer.get('hostname')}  {answer.get('machine_id')}"),
        _line("release", f"{answer.get('version')}  {answer.get('class')}, booted from {answer.get('media')}"),
        _line("up", show.duration(answer.get("uptime"))),
        _line("memory", f"{show.size(memory.get('available'))} of {show.size(memory.get('total'))} available"),
        _line("state", f"{where}{free}"),
        _line("kept", lasts),
        _line("network", addresses or "no address"),
        _line("watchdog", watch),
    ]


def _slots(answer: dict[str, object]) -> list[str]:
    slots = show.mapping(answer.get("slots"))
    lines = []
    for name in sorted(slots):
        slot = show.mapping(slots[name])
        marks = [
            "confirmed" if slot.get("good") else "not confirmed",
            f"{slot.get('tries')} tries left",
            *(["running"] if slot.get("booted") else []),
        ]
        lines.append(_line(f"slot {name}", f"{slot.get('version') or '–'}  {', '.join(marks)}"))
    last = show.mapping(answer.get("last_return"))
    if last:
        detail = f" ({last.get('detail')})" if last.get("detail") else ""
        lines.append(_line("came back", f"{last.get('from') or '?'}: {last.get('reason')}{detail}, {last.get('at')}"))
    return lines


def _health(answer: dict[str, object]) -> list[str]:
    health, config = show.mapping(answer.get("health")), show.mapping(answer.get("config"))
    update = show.mapping(answer.get("update"))
    lines = [_line("health", show.word(str(health.get("state"))))]
    reasons = show.texts(health.get("reasons"))
    lines += [_line("", reason) for reason in reasons[:4]]
    if len(reasons) > 4:
        lines.append(_line("", f"… and {len(reasons) - 4} more: berthctl status --json"))
    lines.append(_line("config", f"{config.get('source')} {str(config.get('sha256') or '')[:12]}".rstrip()))
    if config.get("refused"):
        lines.append(_line("", show.paint(f"refused: {config['refused']}", "bad")))
    if update.get("repository"):
        lines.append(_line("updates", f"{update.get('repository')} {update.get('channel')}, {update.get('policy')}"))
    return lines
