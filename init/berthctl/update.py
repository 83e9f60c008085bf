"""`berthctl update check|apply|status|history`: the machine's releases."""

from __future__ import annotations

import sys

from init.berthctl import show, talk

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

HELP = "look for a newer release, take it, see how the last one ended"
EXAMPLES = (
    "berthctl update check",
    "berthctl update apply --reboot",
    "berthctl update status --wait",
    "berthctl update history",
)
WELL = ("current", "available", "switched")
PASSING = ("checking", "downloading", "written")  # what follows them is the answer itself
UNDER_WAY = (*PASSING, "switched")
BADLY = ("returned", "refused", "failed")
_WORDS = {
    "none": "this machine was never updated",
    "checking": "looking into the repository",
    "current": "the newest release is running",
    "available": "{version} can be taken: berthctl update apply",
    "downloading": "{version} is being written",
    "written": "{version} is written and read back",
    "switched": "{version} is ready: it runs after the next boot (berthctl reboot)",
    "good": "{version} runs and is confirmed",
    "returned": "{version} came back: {reason}",
    "refused": "refused: {reason}",
    "failed": "failed: {reason}",
}


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("action", choices=("check", "apply", "status", "history"), help="what to do")
    parser.add_argument("--reboot", action="store_true", help="apply: reboot into the new release, in order")
    parser.add_argument("--again", action="store_true", help="apply: take a release that is held, too")
    parser.add_argument(
        "--wait", action="store_true", help="status: until the update has ended; status 1 where it did not end well"
    )


def run(arguments: argparse.Namespace) -> int:
    """Ask PID 1, tell how it goes, show how it ended."""
    for option, action in (("wait", "status"), ("reboot", "apply"), ("again", "apply")):
        if getattr(arguments, option) and arguments.action != action:
            hint = f"berthctl update {action} --{option}"
            raise talk.Failure("usage", f"--{option} goes with `{action}`", hint, usage=True)
    if arguments.action not in ("check", "apply"):
        request: dict[str, object] = {"verb": "update-show", "action": arguments.action}
        if arguments.wait:
            tell = None if arguments.json else lambda found: show.safe(sentence(found))
            answer = talk.settled(request, arguments.socket, lambda found: found.get("state") in UNDER_WAY, tell)
        else:
            answer = talk.one(request, arguments.socket)
        _show(answer, as_json=arguments.json)
        return 1 if arguments.wait and answer.get("state") in BADLY else 0
    request = {"verb": "update", "action": arguments.action}
    if arguments.action == "apply":
        request |= {"reboot": arguments.reboot, "again": arguments.again}
    try:
        return _attended(request, arguments)
    except KeyboardInterrupt:
        if not arguments.json:
            print("\nthe machine goes on with it: berthctl update status --wait tells its end", file=sys.stderr)
        raise


def _attended(request: dict[str, object], arguments: argparse.Namespace) -> int:
    """Look on until it has ended; return the exit status."""
    for answer in talk.ask(request, arguments.socket):
        if "progress" in answer and "format" not in answer:
            progress = show.mapping(answer["progress"])
            if not arguments.json and progress.get("state") in PASSING:
                print(show.safe(_progress(progress)), file=sys.stderr, flush=True)
            continue
        _show(answer, as_json=arguments.json)
        return 0 if answer.get("state") in WELL else 1
    raise talk.Failure("lost", "the machine went down meanwhile", "ask again after the boot: berthctl update status")


def sentence(answer: dict[str, object]) -> str:
    """Say in one sentence how things stand."""
    state = str(answer.get("state"))
    words = _WORDS.get(state, state)
    return words.format(
        version=answer.get("version") or "the release", reason=answer.get("reason") or "no reason given"
    )


def _progress(value: dict[str, object]) -> str:
    size, done = value.get("size"), value.get("done")
    if value.get("state") != "downloading" or not isinstance(size, int) or not isinstance(done, int):
        return sentence(value)
    share = done * 100 // max(size, 1)
    return f"{sentence(value)}: {share} % of {show.size(size)}, {show.size(value.get('fetched'))} fetched"


def _show(answer: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        show.as_json(answer)
    elif answer.get("action") == "history":
        print("\n".join(_history(answer)))
    else:
        print("\n".join(_status(answer)))


def _status(answer: dict[str, object]) -> list[str]:
    lines = [sentence(answer)]
    if answer.get("interrupted"):
        lines.append("the last update was cut short: berthctl update apply goes on with it")
    if answer.get("action") == "status":
        where = f"{answer.get('repository')}, channel {answer.get('channel')}, policy {answer.get('policy')}"
        lines.append(f"repository  {where if answer.get('repository') else 'none is configured'}")
        checked = show.mapping(answer.get("checked"))
        if checked:
            what = f"{checked.get('state')} {checked.get('version') or ''}".rstrip()
            reason = f": {checked['reason']}" if checked.get("reason") else ""
            lines.append(f"looked      {checked.get('at')}, {what}{reason}")
    last = show.mapping(answer.get("last"))
    if last and last.get("size"):
        lines.append(f"last        {_cost(last)}")
    lines += [f"held        {held.get('version')}: {held.get('reason')}" for held in show.items(answer.get("held"))]
    return [show.safe(line) for line in lines]


def _cost(attempt: dict[str, object]) -> str:
    return (
        f"{attempt.get('version')}: {show.size(attempt.get('fetched', 0))} fetched of {show.size(attempt.get('size'))},"
        f" {show.duration(attempt.get('seconds', 0))}, at most {show.size(attempt.get('memory', 0))} of memory"
    )


def _history(answer: dict[str, object]) -> list[str]:
    attempts = show.items(answer.get("attempts"))
    if not attempts:
        return ["this machine was never updated"]
    held = {held.get("image"): held.get("reason") for held in show.items(answer.get("held"))}
    rows = [
        [str(one.get(key, "")) for key in ("changed", "version", "slot", "state")]
        + [show.size(one.get("fetched", 0)), show.safe(str(one.get("reason") or held.get(one.get("image")) or ""))]
        for one in attempts
    ]
    return show.table(("WHEN", "VERSION", "SLOT", "STATE", "FETCHED", "REASON"), rows)
