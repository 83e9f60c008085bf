"""`berth explain CODE`: more about one kind of error than fits into a line."""

from __future__ import annotations

import argparse
import json

from builder.cli.context import Context
from builder.errors import BerthError, UsageError

EXAMPLES = """\
  berth explain lock-stale    what it means that a lock is stale, and what to do
  berth explain               list all codes
"""

_MORE = {
    "failed": "Something outside Berth went wrong, for example a full disk. The sentence names it.",
    "input": "A file that you gave is not what it has to be. Nothing was written.",
    "usage": "The command line is wrong: `berth VERB --help` shows examples. Nothing was done.",
    "recipe": (
        "A recipe or machine config has an error. All errors of a file are told at once, each with line and "
        "column. docs/recipe.md lists every key."
    ),
    "lock": (
        "Packages could not be chosen, or a lock file is damaged. A conflict is told by package names; a "
        "dependency that the image can do without is waived in the recipe, by name and reason."
    ),
    "lock-stale": (
        "A mirror drops a version days after a security update, so a lock grows stale by itself. A build then "
        "stops rather than take something else. `berth lock RECIPE --update` chooses anew; `berth build --heal "
        "RECIPE` locks again only what is gone, into a lock of its own below build/. Where you know an archive of "
        "snapshots, `--snapshots URL` (or BERTH_SNAPSHOTS) fetches the very same files from it."
    ),
    "verification": (
        "A signature, checksum or size is wrong: the mirror, the network or the disk altered something. Nothing "
        "that fails this is ever used. If it comes again with another mirror, the repository's keys may be too old "
        "(builder/keys/)."
    ),
    "fetch": "A mirror could not give what was asked, after retries. Name another with --mirror or BERTH_MIRROR.",
    "offline": (
        "Something is not in the store and --offline forbids asking. The sentence lists what; run `berth fetch` "
        "while online."
    ),
    "build": (
        "A package or a stage cannot become part of the image: two packages own one path, or a package ships a "
        "maintainer script that no stage answers for. Excuse a script in the recipe, by name and reason, once you "
        "have read it."
    ),
    "repository": (
        "An update repository or its keys are not what they have to be. `berth repo check DIR` finds every fault and "
        "says what to do; machines take nothing that does not verify, so nothing is lost by waiting. docs/updates.md "
        "says what each key is for."
    ),
    "guest": (
        "A machine that `berth run` booted died, or did not reach the event that --until names in time. The cause "
        "and the console's last lines are shown; without --until the console itself is."
    ),
    "connect": (
        "`berth connect` runs this computer's ssh, which could not log in: the address or port is wrong, the machine "
        "has no key of yours in its config, or its host key is another than the known one. A machine without a disk "
        "makes a new host key at each boot; its console shows the fingerprint, `--fingerprint` takes it."
    ),
    "tool": "A program of the tools tree failed; its last words are shown. `berth tools` lists versions.",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("error_code", nargs="?", metavar="CODE", help="an error's code, as --json shows it")


def all_codes(family: type[BerthError] = BerthError) -> dict[str, type[BerthError]]:
    """Return every class of the error family by its code."""
    found = {family.code: family}
    for child in family.__subclasses__():
        found = all_codes(child) | found  # a class without a code of its own is told as its parent
    return found


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Print the explanation of one code, or all codes."""
    codes = all_codes()
    wanted = [arguments.error_code] if arguments.error_code else sorted(codes)
    if wanted[0] not in codes:
        raise UsageError(f"no error has the code {wanted[0]!r}", hint="`berth explain` lists all codes")
    if context.as_json:
        facts = {code: {"status": codes[code].exit_status, "text": _MORE[code]} for code in wanted}
        print(json.dumps({"format": "berth.explain/1", "codes": facts}))
        return 0
    for code in wanted:
        print(f"{code} (exit status {codes[code].exit_status})\n  {codes[code].__doc__}\n  {_MORE[code]}\n")
    return 0
