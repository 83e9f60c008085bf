"""`berth repo check`: all that machines would verify of a repository."""

from __future__ import annotations

import argparse
import datetime
import json
from pathlib import Path

from builder.cli.arguments import add_behind, folder
from builder.cli.context import Context
from builder.cli.watch import show_bytes
from builder.errors import InputError, Place
from builder.repository.check import ROOT_LARGEST, Findings, check
from builder.repository.folder import Folder
from builder.repository.source import FolderSource, WebSource
from builder.repository.sweep import FOLDERS

EXAMPLES = """\
  berth repo check www --root keys/root.json          a folder, as a machine sees it that trusts this root
  berth repo check https://updates.example/ --root keys/root.json --json    from cron; status 1 where there is a fault
"""
_SOON = 7  # days


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    verbs = parser.add_subparsers(dest="repo_verb", metavar="VERB", required=True, parser_class=type(parser))
    text = "verify every signature, end, offer, index and pack"
    sub = verbs.add_parser("check", help=text, description=text[0].upper() + text[1:] + ".")
    sub.add_argument("repo", metavar="DIR|URL", help="the repository's folder or address")
    sub.add_argument(
        "--root", metavar="FILE", type=folder, help="the root that machines trust (default: its own first)"
    )
    add_behind(sub)


def run(arguments: argparse.Namespace, context: Context) -> int:  # noqa: ARG001 - `--json` may stand behind the verb
    """Check and print; status 1 where there is a fault."""
    trusted = _root(arguments.root) if arguments.root is not None else None
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    where: str = arguments.repo
    stray: list[str] | None = None
    if "://" in where:
        source = WebSource(where)
        try:
            found = check(source, trusted=trusted, now=now)
        finally:
            source.close()
    else:
        if not where or not Path(where).is_dir():
            raise InputError(f"{where!r} is no folder", hint="berth repo check DIR|URL")
        found = check(FolderSource(Path(where)), trusted=trusted, now=now)
        files = Folder(Path(where))
        stray = [path for name in FOLDERS for path in files.names(name) if path not in found.wanted]
    size = sum(Folder(Path(where)).size(path) or 0 for path in stray or ())
    if arguments.json:
        print(json.dumps(facts(found, stray, size, now)))
    else:
        show(found, stray, size, now, believed=trusted is None)
    return 1 if found.faults else 0


def _root(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(ROOT_LARGEST + 1)
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror}",
            hint="--root names the root.json that `berth keys init` wrote",
            place=Place(file=str(path)),
        ) from error


def facts(found: Findings, stray: list[str] | None, size: int, now: datetime.datetime) -> dict[str, object]:
    """Return what was found, as `--json` prints it."""
    return {
        "format": "berth.repo/1",
        "valid": not found.faults,
        "faults": [{"path": one.path, "message": one.message, "cure": one.cure} for one in found.faults],
        "roles": {
            one.role: {
                "version": one.version,
                "expires": f"{one.expires:%Y-%m-%dT%H:%M:%SZ}",
                "days_left": (one.expires - now).days,
            }
            for one in found.roles
        },
        "releases": [
            {
                "class": one.machine_class, "channel": one.channel, "sequence": one.sequence, "version": one.version,
                "newest": path.replace(f"/{one.sequence}.json", ".json") in found.offers
                and found.offers[path.replace(f"/{one.sequence}.json", ".json")] == one,
            }
            for path, one in sorted(found.offers.items())
            if path.count("/") > 1
        ],
        "unreferenced": None if stray is None else {"files": len(stray), "bytes": size},
    }  # fmt: skip


def show(found: Findings, stray: list[str] | None, size: int, now: datetime.datetime, *, believed: bool) -> None:
    """Print what was found for people."""
    if believed:
        print("no --root was given: the repository's own first root is taken at its word")
    for role in found.roles:
        left = (role.expires - now).days
        soon = "  renew it soon" if 0 <= left < _SOON else ""
        print(f"{role.role:10} version {role.version}, until {role.expires:%Y-%m-%d} ({left} days left){soon}")
    for path, one in sorted(found.offers.items()):
        if path.count("/") == 1:
            kept = sum(
                1
                for other in found.offers.values()
                if (other.machine_class, other.channel) == (one.machine_class, one.channel)
            )
            print(
                f"{one.machine_class} on {one.channel}: {one.sequence}, version {one.version}, {kept - 1} kept;"
                f" {show_bytes(one.boot.size + one.root.size)}"
            )
    if stray:
        print(f"{len(stray)} files that nothing leads to, {show_bytes(size)}: a publishing a day later takes them away")
    for fault in found.faults:
        print(f"FAULT {fault.path}: {fault.message}\n  try: {fault.cure}")
    print(f"{len(found.faults)} faults" if found.faults else "no fault")
