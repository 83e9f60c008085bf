"""`berthctl config show|check|plan|apply`: what is in force, and what another document would change."""

from __future__ import annotations

import os
import sys
import tempfile

from init.berthctl import show, talk

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

HELP = "show the configuration in force; check, plan or apply another"
EXAMPLES = (
    "berthctl config show",
    "berthctl config check new.yaml",
    "berthctl config plan new.yaml",
    "berthctl config apply - < new.yaml",
)
PATIENCE = 60.0  # seconds: the document is read by a child with bounds of its own


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("action", choices=("show", "check", "plan", "apply"), help="what to do")
    parser.add_argument("file", nargs="?", help="the document; `-` is standard input")


def run(arguments: argparse.Namespace) -> int:
    """Ask PID 1. A document with an error is status 2, and nothing changes."""
    if arguments.action == "show":
        if arguments.file is not None:
            raise talk.Failure("usage", "show takes no file", "berthctl config show", usage=True)
        answer = talk.one({"verb": "config", "action": "show"}, arguments.socket)
        show.as_json(answer) if arguments.json else _show(answer)
        return 0
    if arguments.file is None:
        hint = f"berthctl config {arguments.action} FILE"
        raise talk.Failure("usage", f"{arguments.action} needs a file", hint, usage=True)
    answer = _ask(arguments.action, _read(arguments.file), arguments.socket)
    name = "standard input" if arguments.file == "-" else arguments.file
    for finding in show.items(answer.get("diagnostics")):
        finding["file"] = name if str(finding.get("file", "")).startswith("file:") else finding.get("file")
    show.as_json(answer) if arguments.json else _told(answer)
    return 0 if answer.get("valid") else 2


def _read(name: str) -> bytes:
    from init.formats.machine import DOCUMENT_MOST  # noqa: PLC0415 - only a verb with a document pays for it

    try:
        if name == "-":
            return sys.stdin.buffer.read(DOCUMENT_MOST + 1)
        with open(name, "rb") as file:  # noqa: PTH123 - pathlib costs each verb its start
            return file.read(DOCUMENT_MOST + 1)
    except OSError as error:
        raise talk.Failure("file", f"{name}: {error.strerror}", "is it there, and may you read it?") from None


def _ask(action: str, data: bytes, socket: str) -> dict[str, object]:
    """Hand the document over in a file of one's own, for it may hold secrets and be large."""
    descriptor, path = tempfile.mkstemp(prefix="berth-config-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        return talk.one({"verb": "config", "action": action, "path": path}, socket, PATIENCE)
    finally:
        os.unlink(path)  # noqa: PTH108 - the same


def _told(answer: dict[str, object]) -> None:
    for finding in show.items(answer.get("diagnostics")):
        print("\n".join(show.safe(line) for line in _sentence(finding)), file=sys.stderr)
    if not answer.get("valid"):
        print("this configuration would be refused; nothing was changed", file=sys.stderr)
        return
    if answer.get("action") == "check":
        print("this configuration is valid")
        return
    changes = show.items(answer.get("changes"))
    if not changes:
        print("nothing changes")
        return
    rows = [[str(each.get(key, "")) for key in ("change", "key", "when")] for each in changes]
    print("\n".join(show.safe(line) for line in show.table(("CHANGE", "WHAT", "WHEN"), rows)))
    if answer.get("applied"):
        later = "; the rest comes with the next boot" if answer.get("reboot") else ""
        print(f"applied and kept{later}")


def _sentence(finding: dict[str, object]) -> list[str]:
    place = ":".join(str(finding[key]) for key in ("file", "line", "column") if finding.get(key))
    path = f" ({finding['path']})" if finding.get("path") else ""
    hint = [f"    {finding['hint']}"] if finding.get("hint") else []
    return [f"{place}: {finding.get('severity')}: {finding.get('message')}{path}", *hint]


def _show(answer: dict[str, object]) -> None:
    print(f"source   {answer.get('source')}")
    if answer.get("sha256"):
        print(f"sha256   {answer['sha256']}")
    if answer.get("refused"):
        print(f"refused  {show.safe(str(answer['refused']))}")
    later = show.items(answer.get("at_next_boot"))
    if later:
        print(f"pending  {', '.join(show.safe(str(each.get('key'))) for each in later)}: at the next boot")
    print()
    print("\n".join(show.safe(line) for line in _lines(answer.get("machine"), "")))


def _lines(value: object, indent: str) -> list[str]:
    """Return a value as YAML has it, one entry a line."""
    lines = []
    for key, each in show.mapping(value).items():
        if isinstance(each, dict):
            lines += [f"{indent}{key}:", *_lines(each, indent + "  ")]
        elif isinstance(each, list) and any(isinstance(item, dict) for item in each):
            lines.append(f"{indent}{key}:")
            for item in each:
                first, *rest = _lines(item, indent + "    ") or [f"{indent}    {{}}"]
                lines += [f"{indent}  - {first.strip()}", *rest]
        else:
            lines.append(f"{indent}{key}: {_text(each)}")
    return lines


def _text(value: object) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_text(each) for each in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
