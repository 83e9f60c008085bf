"""`berth publish`: put a release into a repository that machines update from; promote, withdraw and renew."""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from pathlib import Path

from builder.artifact.unbundle import read_bundle
from builder.cli.arguments import folder, number
from builder.cli.context import Context
from builder.cli.watch import show_bytes
from builder.errors import UsageError
from builder.repository import keys
from builder.repository.encoding import parse_lifetimes
from builder.repository.folder import locked
from builder.repository.publish import Outcome, Publisher
from builder.repository.signing import KeyFolder
from init.formats.offer import Offer

EXAMPLES = """\
  berth publish build/out/podman/podman.bundle --repo www --keys keys
  berth publish podman.bundle --repo www --keys keys --channel beta
  berth publish --promote podman-amd64/7 --to stable --repo www --keys keys    no byte moves
  berth publish --withdraw podman-amd64/7 --repo www --keys keys               no machine takes it any more
  berth publish --refresh --repo www --keys keys    from cron, each day: metadata that expires is signed again
  berth publish podman.bundle --repo www --keys keys --keep 5    the five newest releases of each channel stay
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("bundle", metavar="BUNDLE", nargs="?", type=Path, help="an update bundle of `berth build`")
    parser.add_argument("--repo", metavar="DIR", type=folder, required=True, help="the repository's folder")
    parser.add_argument("--keys", metavar="DIR", type=folder, required=True, help="the folder of `berth keys init`")
    parser.add_argument("--channel", metavar="NAME", help="the line of releases that it goes to (default: stable)")
    parser.add_argument("--promote", metavar="CLASS/SEQUENCE", type=release, help="put a release on another channel")
    parser.add_argument("--to", metavar="CHANNEL", help="of --promote: which")
    parser.add_argument("--withdraw", metavar="CLASS/SEQUENCE", type=release, help="take a release from all channels")
    parser.add_argument("--refresh", action="store_true", help="sign again what is due, and nothing else")
    parser.add_argument(
        "--keep", metavar="N", type=number(1, 100_000), help="releases to keep on each channel (default: all)"
    )
    parser.add_argument(
        "--sequence", metavar="N", type=number(1, 1 << 53),
        help="take this one, higher than all before: for a repository that was lost",
    )  # fmt: skip
    parser.add_argument(
        "--expires", metavar="ROLE=DAYS", action="append", default=[], help="how long what is signed now lasts"
    )


def release(text: str) -> tuple[str, int]:
    """Read `CLASS/SEQUENCE`."""
    name, _, sequence = text.rpartition("/")
    if not name or not sequence.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not CLASS/SEQUENCE, as in podman-amd64/7")
    return name, int(sequence)


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Do it, and print what came of it."""
    asked = [arguments.bundle, arguments.promote, arguments.withdraw, arguments.refresh or None]
    if sum(one is not None for one in asked) != 1:
        raise UsageError("give one of BUNDLE, --promote, --withdraw, --refresh", hint="berth publish --help")
    if (arguments.promote is None) != (arguments.to is None):
        raise UsageError("--promote and --to go together", hint="berth publish --promote CLASS/SEQUENCE --to CHANNEL")
    if arguments.bundle is None and (arguments.channel or arguments.sequence):
        raise UsageError("--channel and --sequence are for a BUNDLE", hint="berth publish --help")
    bundle = read_bundle(arguments.bundle) if arguments.bundle is not None else None
    private = KeyFolder.open(arguments.keys, keys.asked_once(), parse_lifetimes(arguments.expires))
    with locked(arguments.repo) as files:
        publisher = Publisher(
            files=files, private=private, keep=arguments.keep,
            now=datetime.datetime.now(datetime.UTC).replace(microsecond=0),
        )  # fmt: skip
        if bundle is not None:
            did = "published"
            outcome = publisher.publish(bundle, arguments.channel or "stable", sequence=arguments.sequence)
        elif arguments.promote is not None:
            did = "promoted"
            machine_class, sequence = arguments.promote
            outcome = publisher.promote(machine_class, sequence, arguments.to)
        elif arguments.withdraw is not None:
            did = "withdrawn"
            outcome = publisher.withdraw(*arguments.withdraw)
        else:
            did = "refreshed"
            outcome = publisher.refresh()
    show(outcome, did, as_json=context.as_json)
    return 0


def show(outcome: Outcome, did: str, *, as_json: bool) -> None:
    """Print the result: one object for programs, lines for people."""
    if as_json:
        stored, swept = outcome.stored, outcome.swept
        print(
            json.dumps(
                {
                    "format": "berth.publish/1",
                    "did": did if outcome.changed else "nothing",
                    "releases": [_facts(one) for one in outcome.offers],
                    "image": stored.image,
                    "new": stored.new,
                    "stored": stored.written,
                    "removed": {"files": swept.files, "bytes": swept.size},
                    "notes": list(outcome.notes),
                }
            )
        )
        return
    for one in outcome.offers:
        what = did if outcome.changed else "there already, nothing was done"
        print(f"{one.machine_class}/{one.sequence} on {one.channel}: version {one.version}, {what}")
    if did == "refreshed":
        print("refreshed")
    if outcome.stored.image and outcome.changed:
        stored = outcome.stored
        old = stored.image - stored.new
        print(
            f"  {show_bytes(stored.new)} new of {show_bytes(stored.image)}, {show_bytes(old)} zeros or in releases"
            f" before; {show_bytes(stored.written)} stored"
        )
    if outcome.swept.files:
        print(f"  {outcome.swept.files} files that nothing leads to are gone, {show_bytes(outcome.swept.size)}")
    for note in outcome.notes:
        print(f"  note: {note}", file=sys.stderr)


def _facts(one: Offer) -> dict[str, object]:
    return {
        "class": one.machine_class,
        "channel": one.channel,
        "sequence": one.sequence,
        "version": one.version,
        "slot": one.slot_hash,
    }
