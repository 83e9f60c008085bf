"""`berth explain CODE`: more about one kind of error than fits into a line."""

from __future__ import annotations

import argparse
import difflib
import json

from builder.cli.context import Context
from builder.errors import BerthError, UsageError

EXAMPLES = """\
  berth explain lock-stale    what it means that a lock is stale, and what to do
  berth explain unknown-key   the same of what `berth check` finds in a config
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
    "tool": "A program of the tools tree failed; its last words are shown. `berth tools` lists versions, and unpacks "
    "the tree anew where a file of it is damaged.",
}

FINDINGS = {
    "unknown-key": (
        "No such key stands here. The hint names the nearest one that does, or the place where this key belongs; "
        "`berth schema cloud-init` (or berth, recipe, network-config-v1, network-config-v2) prints every key. Keys "
        "that begin with `x-` are yours and are let through."
    ),
    "type": "A value has another type than its key: a list where a map belongs, text where a number does.",
    "value": "A value has the right type and the wrong form, or does not fit to what stands elsewhere in the document.",
    "missing": "A key is missing that its map cannot do without.",
    "duplicate": "The same key, name, number or port twice: which one is meant is not guessed.",
    "invalid": "Something does not fit to the rest of the document; the sentence says what.",
    "ignored": "It is known and not acted on; the sentence says what happens instead.",
    "unused": "A data source holds a document that nothing here reads.",
    "unreachable": "A place that the configuration was to come from has none, or gave no answer in time.",
    "unreadable": "A configuration is there and can't be read, so it is refused; the sentence says what came instead.",
    "note": "It works, and there is something to know about it.",
    "old-form": "It works, and there is a better way to write it.",
    "yaml-versions": (
        "YAML 1.1, which cloud-init reads, and YAML 1.2 take this plain word differently: `yes`, `0644`, `22:22`. Put "
        "it in quotes, or write true, false or a decimal number."
    ),
    "header": (
        "The first line of a machine's document says what it is: `#cloud-config` or `#berth`, exactly so. A network "
        "configuration needs none."
    ),
    "dialect": "The document is in a form that is not understood yet.",
    "file": "The file cannot be read, or is larger than a machine takes.",
    "encoding": "The bytes are no UTF-8 text, or a damaged gzip.",
    "documents": "A file holds one YAML document; a second one begins at the `---` that is named.",
    "yaml": "The text is no YAML. The place is where its reader gave up; the mistake often stands a line above.",
    "limit": "The document is larger, deeper or has more parts than a machine takes, which protects its memory.",
    "tag": "A YAML tag such as `!secret` that means nothing here.",
    "key": "A key of a map has to be a word.",
    "too-many": "More was found than is shown. Mend what is shown and ask again.",
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
    known = sorted((*codes, *FINDINGS))
    wanted = [arguments.error_code] if arguments.error_code else known
    if wanted[0] not in known:
        near = difflib.get_close_matches(wanted[0], known, n=3)
        hint = f"near it are: {', '.join(near)}" if near else "`berth explain` lists all codes"
        raise UsageError(f"no error has the code {wanted[0]!r}", hint=hint)
    if context.as_json:
        facts = {code: _facts(code, codes.get(code)) for code in wanted}
        print(json.dumps({"format": "berth.explain/1", "codes": facts}))
        return 0
    for code in wanted:
        family = codes.get(code)
        if family is None:
            print(f"{code} (of `berth check`)\n  {FINDINGS[code]}\n")
        else:
            print(f"{code} (exit status {family.exit_status})\n  {family.__doc__}\n  {_MORE[code]}\n")
    return 0


def _facts(code: str, family: type[BerthError] | None) -> dict[str, object]:
    """Return a code for programs; what `berth check` finds has no exit status, which hangs on its severity."""
    if family is None:
        return {"status": None, "text": FINDINGS[code]}
    return {"status": family.exit_status, "text": _MORE[code]}
