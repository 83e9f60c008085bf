"""`berthctl install`: from the live ISO to a disk. The plan is shown first; a question is asked on a terminal only."""

from __future__ import annotations

import sys

from init.berthctl import show, talk

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

HELP = "install this live system to a disk"
EXAMPLES = (
    "berthctl install --dry-run",
    "berthctl install --disk /dev/sda",
    "berthctl install --disk serial:S4EVNX0M --wipe S4EVNX0M --yes --then poweroff",
)
_FORMAT = "berth.install/1"


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--disk", metavar="DISK",
        help="only-empty (the default: there has to be exactly one), smallest, largest, serial:NUMBER, or a path",
    )  # fmt: skip
    parser.add_argument("--wipe", metavar="SERIAL", help="the serial number of the disk whose data may be destroyed")
    parser.add_argument(
        "--then", choices=("poweroff", "reboot", "stay"), default="stay", help="what to do when it is done; stay"
    )
    parser.add_argument(
        "--loader",
        action="store_true",
        help="only renew the loader of an installed disk: the one that booted, or --disk; not safe against a power cut",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--dry-run", action="store_true", help="only show what would be done")


def run(arguments: argparse.Namespace) -> int:
    """Show the plan, ask, install."""
    request: dict[str, object] = {"verb": "install", "disk": arguments.disk, "wipe": arguments.wipe}
    if arguments.loader:
        request["loader"] = True
    else:
        request["disk"] = arguments.disk or "only-empty"
    planned = _last(_steps({**request, "dry_run": True}, arguments.socket))
    if not arguments.json:
        print("\n".join(loader_lines(planned) if arguments.loader else plan_lines(planned)))
    if arguments.dry_run:
        if arguments.json:
            show.as_json({"format": _FORMAT, **planned})
        return 0
    if not arguments.yes and not _agreed(planned):
        print("nothing was written", file=sys.stderr)
        return 1
    # Exactly the disk that was shown, whatever has been plugged in since.
    serial = planned.get("serial")
    request |= {"disk": f"serial:{serial}" if serial else planned.get("disk"), "then": arguments.then}
    try:
        done = _last(_told(_steps(request, arguments.socket), quiet=arguments.json))
    except KeyboardInterrupt:
        if not arguments.json:
            print("\nthe machine goes on with it: berthctl events -f tells its end", file=sys.stderr)
        raise
    if arguments.json:
        show.as_json({"format": _FORMAT, **done})
    else:
        print(f"{done.get('disk')}: {done.get('reason')}")
        if arguments.then == "stay" and not arguments.loader:
            print("take the medium out and run `berthctl reboot`")
    return 0


def plan_lines(planned: dict[str, object]) -> list[str]:
    """Return the plan for people."""
    serial = planned.get("serial") or "none"
    parts = ", ".join(
        f"{part.get('name')} {show.size(part.get('size'))}" for part in show.items(planned.get("partitions"))
    )
    lines = [
        f"disk      {planned.get('disk')}, {planned.get('model') or 'no model'}, {show.size(planned.get('size'))}",
        f"serial    {serial}",
        f"why       {planned.get('reason')}",
        f"release   {planned.get('version')}",
        f"layout    {parts}",
    ]
    loss = "everything on this disk is destroyed" if planned.get("destroys") else "the disk is empty"
    return [
        *(show.safe(line) for line in lines),
        f"          {show.paint(loss, 'bad' if planned.get('destroys') else 'dim')}",
    ]


def loader_lines(planned: dict[str, object]) -> list[str]:
    """Return what renewing the loader means, for people."""
    line = show.safe(
        f"disk      {planned.get('disk')}, serial {planned.get('serial') or 'none'}: its loader is renewed"
    )
    return [line, f"          {show.paint('a power cut meanwhile leaves a machine that does not boot', 'bad')}"]


def _agreed(planned: dict[str, object]) -> bool:
    if not sys.stdin.isatty() or not sys.stderr.isatty():
        raise talk.Failure("no-terminal", "there is no terminal to ask at", "give --yes to install", usage=True)
    sys.stderr.write(f"Write to {planned.get('disk')}? Type yes: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() == "yes"


def _steps(request: dict[str, object], path: str) -> Iterator[dict[str, object]]:
    """Yield what the installer says; raise Failure where it refuses."""
    for value in talk.ask(request, path):
        if value.get("state") == "refused":
            raise talk.Failure("refused", str(value.get("reason")), str(value.get("hint") or ""))
        if "state" in value:
            yield value


def _told(steps: Iterator[dict[str, object]], *, quiet: bool) -> Iterator[dict[str, object]]:
    for value in steps:
        if not quiet and value.get("step"):
            print(show.safe(f"  {value['step']}"), file=sys.stderr)
        yield value


def _last(steps: Iterator[dict[str, object]]) -> dict[str, object]:
    value: dict[str, object] | None = None
    for value in steps:  # noqa: B007 - the last one is what counts
        pass
    if value is None:
        raise talk.Failure("answer", "PID 1 closed without an answer", "see berthctl logs install")
    return value
