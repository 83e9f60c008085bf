"""The child that PID 1 starts to read the configuration: one JSON object on stdout, whatever it finds.

    config --default FILE [--file FILE] [--cmdline FILE] [--smbios DIR] [--seed DIR]… [--medium FILE] [--last-good DIR]
           [--instance ID] [--network SECONDS] [--seconds SECONDS] [--read-seconds SECONDS]

`--network` says that the network is up, and how long addresses may be asked; without it they count for nothing.
All places are read side by side within `--read-seconds`; each understanding of documents has `--seconds`. The first
source that is there wins. Where it is refused, the last good one stays in force; where there is none, the recipe's,
with the lifeline of the refused one.
"""

from __future__ import annotations

import argparse
import base64
import json
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from init.dialects.compile import Compiled, compile_documents
from init.dialects.diagnostic import Diagnostic, Place, Severity
from init.dialects.reading import AT_ONCE, Reading, SideBySide
from init.dialects.sources import Found, Places, each, last_good_of, local, remote
from init.dialects.unused import unused
from init.formats.machine import Machine, encode
from init.formats.sha256 import sha256

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 5.0  # for one understanding of the documents
READ_SECONDS = 10.0  # for reading all that lies on the machine: an old CD drive takes a little over 5 s
MEMORY = 256 * 1024 * 1024
Bound = Callable[[float], AbstractContextManager[None]]


class TookTooLong(Exception):
    """The bound of time was reached."""


def main(argv: list[str]) -> int:
    """Read, compile, print. Returns 0 whenever an object was printed."""
    given, places = _parse(argv), _places(argv)
    reading = _side_by_side(places, given.read_seconds, given.network)
    answer = decide(places, _default(argv), reading, bound=_bounds, seconds=given.seconds)
    json.dump(answer, sys.stdout)
    sys.stdout.write("\n")
    return 0


def _side_by_side(places: Places, seconds: float, network: float | None) -> SideBySide:
    addresses = remote(places)
    files = [places.last_good / "user-data"] if places.last_good is not None else []
    files += [each for each in (places.file, places.medium) if each is not None]
    return SideBySide(
        folders=(*places.seeds, *local(places)), files=files, addresses=addresses, seconds=seconds, network=network
    )


def decide(
    places: Places,
    default: bytes | None,
    reading: Reading = AT_ONCE,
    *,
    bound: Bound = lambda _: nullcontext(),
    seconds: float = SECONDS,
) -> dict[str, Any]:
    """Return the object that PID 1 reads.

    The first place that holds a configuration wins. What is there and can't be read is refused like what can't be
    understood: the last good one stays in force; where there is none, the places behind it count.
    """
    run = _Run(default=default, bound=bound, seconds=seconds)
    said = list(unused(places))
    broken: dict[str, Any] | None = None
    for found in each(places, reading):
        if found.absent:
            said.append(_absent(found))
        if not found.seed.is_there():
            continue
        if not found.seed.problem:
            return _with(said, _won(found, places, reading, run, broken))
        said.append(_not_read(found))
        broken = broken or {"source": found.source, "sha256": "", "errors": 1}
        kept = run.kept(places, reading) if found.source != "last-good" else None
        if kept is not None:
            return _with(said, kept(broken))
    recipe = run.compile(None)
    return _with(said, _answer(recipe.machine or Machine(), "recipe", b"", recipe.diagnostics, refused=broken))


def _with(said: list[Diagnostic], answer: dict[str, Any]) -> dict[str, Any]:
    return {**answer, "diagnostics": [*(one.to_json() for one in said), *answer["diagnostics"]]}


def _absent(found: Found) -> Diagnostic:
    """Say of a place that was named and gave nothing why, and what follows."""
    message = f"{found.absent}; the next source counts"
    return Diagnostic(
        severity=Severity.WARNING, place=Place(found.source), path="", message=message, code="unreachable"
    )


def _not_read(found: Found) -> Diagnostic:
    place = Place(f"{found.source}:user-data")
    return Diagnostic(severity=Severity.ERROR, place=place, path="", message=found.seed.problem, code="unreadable")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Run:
    """What every compilation of this run shares: the recipe's document, and the bounds."""

    default: bytes | None
    bound: Bound
    seconds: float

    def compile(self, found: Found | None) -> Compiled:
        """Compile under the bounds; reaching one is an error of the document like any other."""
        user, meta, network = found.documents() if found is not None else (None, None, None)
        try:
            with self.bound(self.seconds):
                compiled = compile_documents(user, meta_data=meta, network_config=network, default=self.default)
        except TookTooLong:
            return self._failed(found, f"not understood within {self.seconds:g} s")
        except MemoryError:
            return self._failed(found, f"not understood within {MEMORY // 2**20} MB of memory")
        except Exception as error:
            return self._failed(found, f"the compiler failed: {type(error).__name__}")
        if found is None or not found.seed.vendor:
            return compiled
        return replace(compiled, diagnostics=(*compiled.diagnostics, _vendor(found)))

    def _failed(self, found: Found | None, message: str) -> Compiled:
        """Refuse what can't be understood as a whole; the ways in of it may still be."""
        place = Place(f"{found.source}:user-data" if found is not None else "recipe")
        diagnostic = Diagnostic(severity=Severity.ERROR, place=place, path="", message=message, code="limit")
        saved = None
        if found is not None:
            user, meta, network = found.documents()
            try:
                with self.bound(SECONDS):
                    saved = compile_documents(
                        user, meta_data=meta, network_config=network, default=self.default, ways_in=True
                    ).lifeline
            except (Exception, MemoryError):
                saved = None
        return Compiled(machine=None, lifeline=saved, diagnostics=(diagnostic,), dialect="")

    def kept(self, places: Places, reading: Reading) -> Callable[[dict[str, Any]], dict[str, Any]] | None:
        """Return how the last good one answers for a refused one; None where it can't."""
        last = last_good_of(places, reading)
        if last is None or last.seed.user_data is None:
            return None
        machine = self.compile(last).machine
        if machine is None:
            return None
        return lambda refused: _answer(_named(machine, last), last.source, _bytes(last), (), refused=refused)


def _won(winner: Found, places: Places, reading: Reading, run: _Run, broken: dict[str, Any] | None) -> dict[str, Any]:
    """Return the answer for the first configuration that could be read; `broken` is one before it that could not."""
    compiled = run.compile(winner)
    found = compiled.diagnostics
    if compiled.machine is not None:
        machine = _named(compiled.machine, winner)
        return _answer(machine, winner.source, _bytes(winner), found, kept=winner, refused=broken)
    refused = {"source": winner.source, "sha256": _hash(_bytes(winner)), "errors": compiled.errors}
    last = run.kept(places, reading) if winner.source != "last-good" else None
    if last is not None:
        answer = last(refused)
        return {**answer, "diagnostics": [one.to_json() for one in found]}
    if compiled.lifeline is not None:
        machine = _named(compiled.lifeline, winner)
        return _answer(machine, winner.source, _bytes(winner), found, refused=refused, lifeline=True)
    return _answer(run.compile(None).machine or Machine(), "recipe", b"", found, refused=refused)


def _answer(
    machine: Machine,
    source: str,
    data: bytes,
    diagnostics: tuple[Diagnostic, ...],
    *,
    kept: Found | None = None,
    refused: dict[str, Any] | None = None,
    lifeline: bool = False,
) -> dict[str, Any]:
    return {
        "format": "berth.compiled/1",
        "machine": encode(machine),
        "source": source,
        "sha256": _hash(data) if data else "",
        "instance_id": machine.instance_id,
        "diagnostics": [one.to_json() for one in diagnostics],
        "refused": refused,
        "lifeline": lifeline,
        "document": base64.b64encode(kept.keep()).decode("ascii") if kept is not None else "",
    }


def _vendor(found: Found) -> Diagnostic:
    return Diagnostic(
        severity=Severity.WARNING,
        place=Place(f"{found.source}:vendor-data"),
        path="",
        message="vendor-data is not acted on",
        hint="put what it says into user-data",
        code="ignored",
    )


def _named(machine: Machine, found: Found) -> Machine:
    """Give an instance without an id one of its own: by the hash of its documents."""
    if machine.instance_id != Machine().instance_id:
        return machine
    return replace(machine, instance_id="i-" + _hash(_bytes(found))[:16])


def _bytes(found: Found) -> bytes:
    return found.seed.user_data or b""


def _hash(data: bytes) -> str:
    return sha256(data).hexdigest()


def _default(argv: list[str]) -> bytes | None:
    path = _parse(argv).default
    try:
        return path.read_bytes() if path is not None else None
    except OSError:
        return None


def _places(argv: list[str]) -> Places:
    given = _parse(argv)
    return Places(
        file=given.file,
        cmdline=given.cmdline,
        smbios=given.smbios,
        seeds=tuple(given.seed),
        medium=given.medium,
        last_good=given.last_good,
        instance=given.instance,
    )


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="config", description="compile the machine's configuration")
    for name in ("--default", "--file", "--cmdline", "--smbios", "--medium", "--last-good"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--instance")
    parser.add_argument("--network", type=float)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--read-seconds", type=float, default=READ_SECONDS)
    parser.add_argument("--seed", type=Path, action="append", default=[])
    return parser.parse_args(argv)


@contextmanager
def _bounds(seconds: float) -> Iterator[None]:
    """Bound time by a timer and memory by a limit of address space."""

    def late(number: int, frame: object) -> None:  # noqa: ARG001 - the signal module's shape
        raise TookTooLong

    _limit_memory()
    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _limit_memory() -> None:
    """Bound what is used; what threads have reserved and don't use is not counted, as the kernel's limit would."""
    size, resident = (int(word) * resource.getpagesize() for word in Path("/proc/self/statm").read_text().split()[:2])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = MEMORY + size - resident
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
