"""`berth connect`: run a verb of `berthctl` on a machine, through this computer's own SSH client.

Keys, agents, jump hosts and known hosts are that client's, as in everyday life. A machine's host key is learnt in one
of two ways: ssh asks, and the fingerprint that the machine shows on its console is compared; or that fingerprint is
given with `--fingerprint`, and no other key is taken.
"""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, replace

from builder.cli.arguments import number
from builder.cli.context import Context
from builder.errors import ConnectError, UsageError

EXAMPLES = """\
  berth connect 192.0.2.7                           its status
  berth connect 192.0.2.7 logs web -f
  berth connect 127.0.0.1 -p 2222 -i ~/.ssh/box1 service restart web
  berth connect root@box1 --json ps                 for programs: berthctl's JSON and its exit status
  berth connect box1 --fingerprint SHA256:… status  as shown on the machine's console; no question is asked
  berth connect box1 --wait 300 update status --wait  across the machine's reboot: how did its update end?

The user is `berth` where HOST names none. Options stand before the verb; all behind it is berthctl's.
"""
USER = "berth"
_UNREACHED = 255  # ssh(1): its own failure, not the command's
_NO_PROGRAM = 127  # sh(1): there is no such command
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")
# Verbs that change nothing: where a machine goes down in the middle of one, it may be asked again.
_READING = frozenset(("status", "ps", "logs", "events", "timeline"))
_READING_TWO = frozenset((("update", "status"), ("update", "history"), ("config", "show")))
_PAUSE = 1.0  # seconds between two tries
_KNOCK_BOUND = 10  # seconds that one of them may take
# ssh_config(5), KnownHostsCommand: asked with the key that the machine shows; prints it where it is the expected one
_PINNED = """/bin/sh -c '[ "%f" = "$0" ] && printf "%%s %%s %%s\\n" "%H" "%t" "%K"; :' """


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments. Options may stand before and behind HOST; what begins with the verb is berthctl's."""
    _add_options(parser)
    parser.add_argument("words", metavar="[USER@]HOST [VERB …]", nargs=argparse.REMAINDER, help="(default: status)")
    behind = type(parser)(prog=parser.prog, add_help=False)
    _add_options(behind)
    for flag in ("--json", "--quiet"):
        behind.add_argument(flag, action="store_true", default=argparse.SUPPRESS)
    behind.add_argument("words", nargs=argparse.REMAINDER)
    parser.set_defaults(behind=behind)


def _add_options(parser: argparse.ArgumentParser) -> None:
    none = argparse.SUPPRESS
    port = number(1, 65535)
    parser.add_argument("-p", "--port", metavar="PORT", type=port, default=none, help="its port for SSH (ssh's own)")
    parser.add_argument("-i", "--identity", metavar="KEY", default=none, help="your private key's file (ssh's default)")
    parser.add_argument(
        "--fingerprint", metavar="SHA256:…", default=none, help="of the host key, from its console; no other is taken"
    )
    parser.add_argument(
        "--wait", metavar="S", type=number(1, 86400), default=none,
        help="try for S seconds until the machine answers; what only reads is asked again where the connection breaks",
    )  # fmt: skip
    parser.add_argument("-o", "--option", metavar="SETTING", action="append", default=none, help="as ssh's own -o")


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Run it and return berthctl's exit status."""
    del context  # a `--json` behind HOST is read only here
    target = read(arguments)
    program = shutil.which("ssh")
    if program is None:
        raise ConnectError(
            "there is no ssh on this computer, and berth connect works through it",
            hint="install OpenSSH's client (Debian: apt install openssh-client)",
        )
    terminal = sys.stdin.isatty() and sys.stdout.isatty() and not arguments.json
    try:
        if target.wait is not None:
            status = _patiently(program, target, terminal=terminal)
        else:
            status = subprocess.run((program, *command(target, terminal=terminal)), check=False).returncode
    except KeyboardInterrupt:
        return 130
    if status == _UNREACHED:
        raise ConnectError(
            f"ssh could not log in to {target.host}; what it said stands above",
            hint="the machine's console shows its addresses and the fingerprint of its host key",
        )
    if status == _NO_PROGRAM:
        raise ConnectError(f"{target.host} has no berthctl", hint="is it a Berth machine, and the right one?")
    return status if status >= 0 else 128 - status


def _patiently(program: str, target: Target, *, terminal: bool) -> int:
    """Run it once the machine lets us in, which is asked without running anything; return ssh's exit status."""
    deadline = time.monotonic() + (target.wait or 0)
    bounded = replace(target, options=(*target.options, f"ConnectTimeout={_KNOCK_BOUND}"))
    knock = (program, *command(bounded, terminal=False, remote="true"))
    while True:
        told = subprocess.run(knock, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        status = told.returncode
        if status == 0:
            status = subprocess.run((program, *command(target, terminal=terminal)), check=False).returncode
            if status != _UNREACHED or not only_reads(target.words):
                return status
        if not _may_pass(told.stderr) or time.monotonic() >= deadline:
            sys.stderr.write(told.stderr)
            return status
        time.sleep(_PAUSE)


def _may_pass(told: str) -> bool:
    """Tell whether waiting helps: it does not where the machine is there and refuses this key, or shows another."""
    return "Permission denied" not in told and "verification failed" not in told


def only_reads(words: tuple[str, ...]) -> bool:
    """Tell whether a verb of berthctl changes nothing."""
    return words[0] in _READING or words[:2] in _READING_TWO


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A machine, how to reach it, and what to run there. None is left to ssh."""

    host: str
    user: str = USER
    port: int | None = None
    identity: str | None = None
    fingerprint: str | None = None
    options: tuple[str, ...] = ()
    wait: int | None = None  # seconds
    words: tuple[str, ...] = ("status",)


def read(arguments: argparse.Namespace) -> Target:
    """Return what the command line means; raise UsageError. Sets `arguments.json` where that stood behind HOST."""
    if not arguments.words:
        raise UsageError("which machine?", hint="berth connect HOST VERB; berth connect --help")
    where, *rest = arguments.words
    arguments.behind.parse_args(rest, namespace=arguments)
    user, at, host = where.rpartition("@")
    if not host or where.startswith("-"):
        raise UsageError(f"{where!r} is no host", hint="berth connect --help")
    fingerprint = getattr(arguments, "fingerprint", None)
    if fingerprint is not None and not _FINGERPRINT.fullmatch(fingerprint):
        raise UsageError(f"{fingerprint!r} is no fingerprint", hint="the console shows it: SHA256: and 43 characters")
    words = arguments.words or ["status"]
    if arguments.json and "--json" not in words:
        words = [*words, "--json"]
    return Target(
        host=host,
        user=user if at else USER,
        port=getattr(arguments, "port", None),
        identity=getattr(arguments, "identity", None),
        fingerprint=fingerprint,
        options=tuple(getattr(arguments, "option", ())),
        wait=getattr(arguments, "wait", None),
        words=tuple(words),
    )


def command(target: Target, *, terminal: bool, remote: str | None = None) -> list[str]:
    """Return ssh's arguments; `remote` is run instead of berthctl's verb. Pure."""
    argv = ["-o", "LogLevel=ERROR"]
    if target.fingerprint is not None:
        # nothing that was learnt before counts, and nobody is asked
        argv += ["-o", f"KnownHostsCommand={_PINNED}{target.fingerprint}"]
        argv += ["-o", "UserKnownHostsFile=/dev/null", "-o", "GlobalKnownHostsFile=/dev/null"]
        argv += ["-o", "StrictHostKeyChecking=yes"]
    if target.port is not None:
        argv += ["-p", str(target.port)]
    if target.identity is not None:
        argv += ["-i", target.identity]
    for option in target.options:
        argv += ["-o", option]
    argv += ["-t"] if terminal else ["-T"]
    return [*argv, "-l", target.user, "--", target.host, remote or shlex.join(["berthctl", *target.words])]
