"""The child that PID 1 starts to read the configuration: one JSON object on stdout, whatever it finds.

    config --default FILE [--file FILE] [--cmdline FILE] [--smbios DIR] [--seed DIR]… [--medium FILE] [--last-good DIR]
           [--instance ID] [--network SECONDS]

`--network` says that the network is up, and how long addresses may be asked; without it they count for nothing.
The first source that is there wins. Where it is refused, the last good one stays in force; where there is none, the
recipe's, with the lifeline of the refused one.
"""

from __future__ import annotations

import argparse
import base64
import json
import resource
import signal
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from init.dialects.compile import Compiled, compile_documents
from init.dialects.diagnostic import Diagnostic, Place, Severity
from init.dialects.netseed import Address, Fetched, fetch, shown
from init.dialects.sources import Found, Places, candidates, remote
from init.dialects.unused import unused
from init.formats.machine import Machine, encode
from init.formats.sha256 import sha256

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SECONDS = 5
MEMORY = 256 * 1024 * 1024


class TookTooLong(Exception):
    """The bound of time was reached."""


def main(argv: list[str]) -> int:
    """Read, compile, print. Returns 0 whenever an object was printed."""
    places, seconds = _places(argv), _parse(argv).network
    fetched: dict[Address, Fetched] = {}
    if seconds is not None:
        with _bounds(seconds + 1):
            fetched = ask(remote(places), seconds)
    with _bounds(SECONDS):
        answer = decide(places, _default(argv), fetched)
    json.dump(answer, sys.stdout)
    sys.stdout.write("\n")
    return 0


def ask(addresses: tuple[Address, ...], seconds: float) -> dict[Address, Fetched]:
    """Ask all addresses within `seconds`, each with a fair share of what is left; the first that gives ends it."""
    fetched: dict[Address, Fetched] = {}
    end = time.monotonic() + seconds
    for number, address in enumerate(addresses):
        share = (end - time.monotonic()) / (len(addresses) - number)
        try:
            fetched[address] = fetch(address, share)
        except TookTooLong:
            fetched[address] = Fetched(seed=None, reason=f"no answer within {seconds:g} s")
            break
        if fetched[address].seed is not None:
            break
    return fetched


def decide(places: Places, default: bytes | None, fetched: Mapping[Address, Fetched] | None = None) -> dict[str, Any]:
    """Return the object that PID 1 reads. `fetched` is what addresses gave."""
    answer = _decided(places, default, fetched or {})
    silent = [each.to_json() for address in remote(places) if (each := _silence(address, fetched or {})) is not None]
    passed_over = [each.to_json() for each in unused(places)]
    return {**answer, "diagnostics": [*passed_over, *silent, *answer["diagnostics"]]}


def _silence(address: Address, fetched: Mapping[Address, Fetched]) -> Diagnostic | None:
    """Say of an address that gave nothing why, and what follows."""
    had = fetched.get(address)
    if had is not None and had.seed is not None:
        return None
    if had is None and any(each.seed is not None for each in fetched.values()):
        return None  # another one came first, so it was not asked
    reason = had.reason if had is not None else "there is no network"
    message = f"no configuration from {shown(address.url)}: {reason}; the next source counts"
    return Diagnostic(
        severity=Severity.WARNING, place=Place(address.source), path="", message=message, code="unreachable"
    )


def _decided(places: Places, default: bytes | None, fetched: Mapping[Address, Fetched]) -> dict[str, Any]:
    try:
        found = candidates(places, fetched)
    except TookTooLong:
        found = []
    recipe = _guarded(None, default)
    fallback = recipe.machine or Machine()
    if not found:
        return _answer(fallback, "recipe", b"", recipe.diagnostics)
    winner = found[0]
    compiled = _guarded(winner, default)
    if compiled.machine is not None:
        return _answer(
            _named(compiled.machine, winner), winner.source, _bytes(winner), compiled.diagnostics, kept=winner
        )
    refused = {"source": winner.source, "sha256": _hash(_bytes(winner)), "errors": compiled.errors}
    last = next((each for each in found[1:] if each.source == "last-good"), None)
    if last is not None:
        again = _guarded(last, default)
        if again.machine is not None:
            machine = _named(again.machine, last)
            return _answer(machine, last.source, _bytes(last), compiled.diagnostics, refused=refused)
    if compiled.lifeline is not None:
        return _answer(
            _named(compiled.lifeline, winner),
            winner.source,
            _bytes(winner),
            compiled.diagnostics,
            refused=refused,
            lifeline=True,
        )
    return _answer(fallback, "recipe", b"", compiled.diagnostics, refused=refused)


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
        "diagnostics": [each.to_json() for each in diagnostics],
        "refused": refused,
        "lifeline": lifeline,
        "document": base64.b64encode(kept.keep()).decode("ascii") if kept is not None else "",
    }


def _guarded(found: Found | None, default: bytes | None) -> Compiled:
    """Compile under the bounds; reaching one is an error of the document like any other."""
    user, meta, network = found.documents() if found is not None else (None, None, None)
    try:
        compiled = compile_documents(user, meta_data=meta, network_config=network, default=default)
    except TookTooLong:
        return _failed(found, f"not understood within {SECONDS} s")
    except MemoryError:
        return _failed(found, f"not understood within {MEMORY // 2**20} MB of memory")
    except Exception as error:
        return _failed(found, f"the compiler failed: {type(error).__name__}")
    if found is None or not found.seed.vendor:
        return compiled
    return replace(compiled, diagnostics=(*compiled.diagnostics, _vendor(found)))


def _vendor(found: Found) -> Diagnostic:
    return Diagnostic(
        severity=Severity.WARNING,
        place=Place(f"{found.source}:vendor-data"),
        path="",
        message="vendor-data is not acted on",
        hint="put what it says into user-data",
        code="ignored",
    )


def _failed(found: Found | None, message: str) -> Compiled:
    place = Place(f"{found.source}:user-data" if found is not None else "recipe")
    diagnostic = Diagnostic(severity=Severity.ERROR, place=place, path="", message=message, code="limit")
    return Compiled(machine=None, lifeline=None, diagnostics=(diagnostic,), dialect="")


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
    parser.add_argument("--seed", type=Path, action="append", default=[])
    return parser.parse_args(argv)


@contextmanager
def _bounds(seconds: float) -> Iterator[None]:
    """Bound time by a timer and memory by a limit of address space."""

    def late(number: int, frame: object) -> None:  # noqa: ARG001 - the signal module's shape
        raise TookTooLong

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
