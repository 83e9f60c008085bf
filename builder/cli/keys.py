"""`berth keys`: make, replace, renew and show the keys of an update repository."""

from __future__ import annotations

import argparse
import datetime
import getpass
import json
import os
import sys
from pathlib import Path

from tuf.api.metadata import Metadata, Root

from builder.cli.arguments import add_behind, folder, number
from builder.cli.context import Context
from builder.errors import InputError, UsageError
from builder.repository import keys, rotation, trust
from builder.repository.encoding import parse_lifetimes

EXAMPLES = """\
  berth keys init keys                              one root key and three for daily work, and root.json for machines
  berth keys init keys --root-keys 3 --threshold 2  two of three root keys have to sign a change of keys
  berth keys show keys                              which keys there are, where, and when the root expires
  berth keys renew keys --root-key /media/stick/root-1.pem     the same keys, a later end
  berth keys rotate keys timestamp snapshot         new keys for these roles
  berth keys rotate keys root --root-key /media/stick/root-1.pem
"""
_ROLES = ("root", *keys.ONLINE)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    verbs = parser.add_subparsers(dest="keys_verb", metavar="VERB", required=True, parser_class=type(parser))
    init = _add(verbs, "init", "make all keys, and the first root that machines trust")
    init.add_argument(
        "--root-keys", metavar="N", type=number(1, rotation.MOST_ROOT_KEYS), default=1, help="root keys (default: 1)"
    )
    init.add_argument(
        "--threshold", metavar="M", type=number(1, rotation.MOST_ROOT_KEYS), default=1,
        help="how many of them have to sign a change (default: 1)",
    )  # fmt: skip
    init.add_argument(
        "--expires", metavar="ROLE=DAYS", action="append", default=[],
        help="how long a role's metadata lasts (root=730, targets=365, snapshot=90, timestamp=30)",
    )  # fmt: skip
    init.add_argument("--encrypt", action="store_true", help="ask for a passphrase for the root keys")
    rotate = _add(verbs, "rotate", "replace keys by new ones: a new version of the root")
    rotate.add_argument("roles", metavar="ROLE", nargs="+", choices=_ROLES, help=", ".join(_ROLES))
    rotate.add_argument(
        "--root-keys", metavar="N", type=number(1, rotation.MOST_ROOT_KEYS), help="of `root`: so many new ones"
    )
    rotate.add_argument("--encrypt", action="store_true", help="ask for a passphrase for new root keys")
    renew = _add(verbs, "renew", "a new version of the root with the same keys and a later end")
    for each in (rotate, renew):
        each.add_argument(
            "--root-key", metavar="FILE", action="append", default=[], type=Path,
            help="a private root key that is not in the folder; as often as needed",
        )  # fmt: skip
        each.add_argument(
            "--threshold", metavar="M", type=number(1, rotation.MOST_ROOT_KEYS),
            help="how many root keys have to sign from now on (default: as before)",
        )  # fmt: skip
        each.add_argument("--days", metavar="N", type=number(1, 3650), help="how long the new root lasts")
    _add(verbs, "show", "say which keys there are, where, and when the root expires")


def _add(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    text: str,
) -> argparse.ArgumentParser:
    sub = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    sub.add_argument("folder", metavar="DIR", type=folder, help="the folder of keys")
    add_behind(sub)
    return sub


def run(arguments: argparse.Namespace, context: Context) -> int:  # noqa: ARG001 - `--json` may stand behind the verb
    """Do one of the verbs."""
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    verb, where = arguments.keys_verb, arguments.folder
    if verb == "init":
        root = rotation.initialise(
            where, root_keys=arguments.root_keys, threshold=arguments.threshold,
            days=parse_lifetimes(arguments.expires), now=now, passphrase=_fresh(wanted=arguments.encrypt),
        )  # fmt: skip
    elif verb == "show":
        root = trust.load_roots(where)[-1]
    else:
        roles = list(dict.fromkeys(arguments.roles)) if verb == "rotate" else []
        if verb == "rotate" and arguments.threshold is not None and "root" not in roles:
            raise UsageError("--threshold is the root's", hint="berth keys renew DIR --threshold M")
        root = rotation.rotate(
            where, roles, others=arguments.root_key, threshold=arguments.threshold, days=arguments.days, now=now,
            root_keys=arguments.root_keys if verb == "rotate" else None, passphrase=keys.asked_once(),
            fresh_passphrase=_fresh(wanted=verb == "rotate" and arguments.encrypt),
        )  # fmt: skip
    if arguments.json:
        print(json.dumps(facts(where, root, now)))
        return 0
    show(where, root, now)
    if verb != "show":
        advise(where, verb)
    return 0


def _fresh(*, wanted: bool) -> bytes:
    """Return the passphrase that new root keys get: `BERTH_KEY_PASSPHRASE`, else asked for twice."""
    if not wanted:
        return b""
    given = os.environ.get("BERTH_KEY_PASSPHRASE")
    if given is None:
        if not sys.stdin.isatty():
            raise InputError("there is no terminal to ask for a passphrase at", hint="set BERTH_KEY_PASSPHRASE")
        given = getpass.getpass("new passphrase of the root keys: ")
        if getpass.getpass("once more: ") != given:
            raise InputError("these were two different passphrases", hint="nothing was made; try again")
    if not given:
        raise InputError("an empty passphrase protects nothing", hint="leave --encrypt out")
    return given.encode()


def facts(where: Path, root: Metadata[Root], now: datetime.datetime) -> dict[str, object]:
    """Return what there is, as `--json` prints it."""
    paths = {path.name: str(path.resolve()) for path in sorted(where.glob("*.pem"))}
    return {
        "format": "berth.keys/1",
        "version": root.signed.version,
        "expires": f"{root.signed.expires:%Y-%m-%dT%H:%M:%SZ}",
        "days_left": (root.signed.expires - now).days,
        "root": str((where / "root.json").resolve()),
        "private": list(paths.values()),
        "days": rotation.lifetimes(where),
        "roles": {
            role: {"keys": list(root.signed.roles[role].keyids), "threshold": root.signed.roles[role].threshold}
            for role in _ROLES
        },
    }


def show(where: Path, root: Metadata[Root], now: datetime.datetime) -> None:
    """Print what there is for people."""
    left = (root.signed.expires - now).days
    print(f"{where}: version {root.signed.version} of the root, until {root.signed.expires:%Y-%m-%d} ({left} days)")
    days = rotation.lifetimes(where)
    for role in _ROLES:
        known = root.signed.roles[role]
        ids = ", ".join(keyid[:8] for keyid in known.keyids)
        need = f"{known.threshold} of {len(known.keyids)} sign" if len(known.keyids) > 1 else "signs"
        files = keys.root_key_paths(where) if role == "root" else [where / f"{role}.pem"]
        here = ", ".join(path.name for path in files if path.exists()) or "not in this folder"
        print(f"  {role:10} {ids}  {need} for {days[role]} days  ({here})")


def advise(where: Path, verb: str) -> None:
    """Say what to do with what was made."""
    root = (where / "root.json").resolve()
    lines = {
        "init": (
            f"put away {where}/root-*.pem, one copy each and off this computer: they are needed only to change keys",
            f"give machines root.json: `build: {{update_root: {root}}}` in the recipe, or",
            "  `berth: {update: {root: '…'}}` with its text in the config (`berth serve` prints it)",
            f"publish: berth publish BUNDLE --repo DIR --keys {where}",
        ),
        "rotate": (
            f"now: berth publish --refresh --repo DIR --keys {where}; machines come along by themselves",
            f"once every repository is refreshed, destroy the old private keys in {where}/{keys.RETIRED}",
            "new root keys are put away like the first ones; root.json for recipes is a new one",
        ),
        "renew": (f"now: berth publish --refresh --repo DIR --keys {where}; machines come along by themselves",),
    }
    for line in lines[verb]:
        print(f"  {line}", file=sys.stderr)
