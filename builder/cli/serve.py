"""`berth serve`: a repository over HTTP, for trying out and for small fleets."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from builder.cli.arguments import folder, number
from builder.cli.context import Context
from builder.cli.watch import show_bytes
from builder.errors import InputError, RepositoryError
from builder.repository.folder import Folder
from builder.repository.server import Server
from builder.repository.state import metadata_path

EXAMPLES = """\
  berth serve www                          for this computer and its QEMU guests, on port 8000
  berth serve www --bind 0.0.0.0           for everybody who reaches this computer
  berth serve www --print                  the lines for a machine's config, and nothing else

Any web server can do the same: a repository is plain files, and a machine needs neither listings nor ranges.
"""
GUEST = "10.0.2.2"  # this computer, as QEMU's guests see it (user-mode networking)
LOOPBACK = "127.0.0.1"
_PAUSE = 1.0  # seconds


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("repo", metavar="DIR", type=folder, help="the repository's folder")
    parser.add_argument(
        "--port", metavar="N", type=number(0, 65535), default=8000, help="(default: 8000; 0 takes a free one)"
    )
    parser.add_argument(
        "--bind", metavar="ADDRESS", default=LOOPBACK, help="listen here (default: this computer's own, 127.0.0.1)"
    )
    parser.add_argument("--print", action="store_true", help="print the lines for a machine's config and end")


class _StopError(BaseException):
    """SIGTERM came. As an Exception it would be lost where it comes while socketserver takes a connection."""


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Serve until told to stop: SIGTERM is a clean end, Ctrl-C gives status 130."""
    where: Path = arguments.repo
    if not where.is_dir():
        raise InputError(f"{where} is no folder", hint="berth publish BUNDLE --repo DIR --keys DIR makes one")
    if arguments.print:
        show(where, arguments.bind, arguments.port, as_json=context.as_json)
        return 0
    log = Log()
    try:
        server = Server(
            where, arguments.bind, arguments.port, (lambda *_: None) if arguments.quiet else log.answer, log.idle
        )
    except (OSError, UnicodeError) as error:
        raise RepositoryError(
            f"{arguments.bind} port {arguments.port} can't be listened on: {getattr(error, 'strerror', None) or error}",
            hint="choose another with --port and --bind; --port 0 takes a free port",
        ) from error
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        with server:
            show(where, arguments.bind, server.port, as_json=context.as_json)
            print(f"serving {where} on {arguments.bind} port {server.port}; Ctrl-C ends it", file=sys.stderr)
            server.serve_forever()
    except _StopError:
        print("berth: stopped", file=sys.stderr)
        return 0
    except KeyboardInterrupt:
        print("\nberth: stopped", file=sys.stderr)
        return 130
    finally:
        log.flush()
        signal.signal(signal.SIGTERM, before)
    return 0


class Log:
    """A line for each answer; packs, of which an update fetches hundreds, are summed up by who asked."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._packs: dict[str, tuple[int, int, float]] = {}  # how many, their bytes, and when the last one went

    def answer(self, who: str, what: str, status: int, size: int) -> None:
        """Take note of an answer."""
        with self._lock:
            if status == 200 and what.startswith("GET /packs/"):
                count, before, _ = self._packs.get(who, (0, 0, 0.0))
                self._packs[who] = (count + 1, before + size, self._clock())
                return
            self._sum_up(who)
            self._say(f"{who}  {status}  {show_bytes(size):>8}  {what}")

    def idle(self) -> None:
        """Say what was summed up and does not grow any more."""
        with self._lock:
            now = self._clock()
            for who in [who for who, (_, _, last) in self._packs.items() if now - last > _PAUSE]:
                self._sum_up(who)

    def flush(self) -> None:
        """Say all that was summed up."""
        with self._lock:
            for who in list(self._packs):
                self._sum_up(who)

    def _sum_up(self, who: str) -> None:
        if who in self._packs:
            count, size, _ = self._packs.pop(who)
            self._say(f"{who}  200  {show_bytes(size):>8}  {count} pack{'' if count == 1 else 's'}")

    @staticmethod
    def _say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise _StopError


def show(where: Path, bind: str, port: int, *, as_json: bool) -> None:
    """Print what a machine's config needs."""
    own = f"[{bind}]" if ":" in bind else bind
    address = f"http://{GUEST if bind in (LOOPBACK, 'localhost') else own}:{port}/"
    if bind in ("0.0.0.0", "::"):  # noqa: S104 - asked for
        address = f"http://THIS-COMPUTER:{port}/"
    root = newest_root(where)
    if as_json:
        local = LOOPBACK if bind in ("0.0.0.0", "::") else own  # noqa: S104
        fact: dict[str, object] = {"format": "berth.serve/1", "url": f"http://{local}:{port}/", "repository": address}
        fact |= {"guest": f"http://{GUEST}:{port}/", "port": port, "channel": channel(where), "root": root}
        print(json.dumps(fact), flush=True)
        return
    lines = [
        "berth:",
        "  update:",
        f"    repository: {address}" + ("  # this computer, as a QEMU guest sees it" if GUEST in address else ""),
        f"    channel: {channel(where)}",
        "    policy: manual  # or now, or window",
    ]
    if root is None:
        lines.append("    # nothing is published here yet: the root of trust comes with the first release")
    else:
        lines.append(f"    root: '{root}'")
    print("\n".join(lines), flush=True)


def newest_root(where: Path) -> str | None:
    """Return the repository's newest root as one line, None where it has none."""
    files, found = Folder(where), None
    version = 1
    while (data := files.read(metadata_path("root", version))) is not None:
        found, version = data, version + 1
    try:
        return None if found is None else json.dumps(json.loads(found), separators=(",", ":"))
    except ValueError as error:
        raise RepositoryError("the repository's root is damaged", hint=f"berth repo check {where}") from error


def channel(where: Path) -> str:
    """Return the channel to follow: stable, or the first that there is."""
    found = sorted({path.name.split(".", 1)[1].removesuffix(".json") for path in where.glob("targets/*/*.json")})
    return "stable" if "stable" in found or not found else found[0]
