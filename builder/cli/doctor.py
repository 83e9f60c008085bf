"""`berth doctor`: tries what the work needs; one line and, where something is wrong, one cure each."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import socket
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from builder.cli.context import Context
from builder.cli.inputs import Network, add_network, network_of, open_source, working_tools
from builder.emulate import accelerator
from builder.errors import BerthError, DateError, OfflineError
from builder.lock.archive import open_archive
from builder.lock.release import day

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EXAMPLES = """\
  berth doctor              one line a check; status 1 if something has to be mended
  berth doctor --offline    without asking a mirror
"""
SUITE, ARCHITECTURE = "trixie", "amd64"  # what the shipped recipes are made of
_NEEDED_SPACE = 4 << 30  # bytes: packages, tools tree, artifacts of three recipes
_ROOM = {
    "downloads": "`berth cache prune`, or point BERTH_CACHE to a larger disk",
    "builds": "delete build/steps and what build/out has, or work in a folder on a larger disk",
}
_ATTEMPTS = 2  # of the mirror: who asks what is wrong waits for an answer, not for better times
_SKEW = 600  # seconds that a clock may be off before signatures and dates begin to fail


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One check's result. `level` is `ok`, `warning` (works, but worse) or `wrong`."""

    name: str
    level: str
    message: str
    cure: str | None = None


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_network(parser)


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Run all checks, each by itself, and print them."""
    network = network_of(arguments)
    findings = [examine("computer", check_computer), examine("space", lambda: check_space(context))]
    mirror, dates, refused = ask_mirror(context, network)
    # Without an answer, what the store and build/ have can be tried all the same.
    reach = network if dates else replace(network, offline=True)
    findings += [
        mirror,
        check_clock(dates, mirror, refused),
        examine("accelerator", lambda: check_accelerator(context, reach, mirror)),
        examine("port 8080", lambda: check_port(8080)),
    ]
    if context.as_json:
        print(json.dumps({"format": "berth.doctor/1", "checks": [asdict(finding) for finding in findings]}))
    else:
        for finding in findings:
            print(f"{finding.level:7}  {finding.name}: {finding.message}")
            if finding.cure:
                print(f"         cure: {finding.cure}")
    return 1 if any(finding.level == "wrong" for finding in findings) else 0


def examine(name: str, check: Callable[[], Finding]) -> Finding:
    """Run one check; what it raises is its finding, cut to a line."""
    try:
        return check()
    except BerthError as error:
        where = f"{error.place}: " if error.place is not None else ""
        message = where + error.message.partition("\n")[0].rstrip(":")
        return Finding(name=name, level="wrong", message=message, cure=error.hint or f"berth explain {error.code}")
    except OSError as error:
        return Finding(name=name, level="wrong", message=str(error), cure="berth explain failed")


def check_computer() -> Finding:
    """Python was new enough to come here; what remains is whether the tools' programs can run."""
    what = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        cure = "build on x86-64 Linux: the tools are programs for it"
        return Finding(name="computer", level="wrong", message=what, cure=cure)
    return Finding(name="computer", level="ok", message=f"{what}, {os.cpu_count()} processors")


def check_space(context: Context) -> Finding:
    """There has to be room where downloads and where builds go."""
    for what, path in (("downloads", context.store.root), ("builds", context.build_root)):
        existing = next(parent for parent in (path, *path.parents) if parent.exists())
        free = shutil.disk_usage(existing).free
        if free < _NEEDED_SPACE:
            cure = f"free some, {_ROOM[what]}"
            message = f"{free / 1e9:.1f} GB free for {what} in {existing}, {_NEEDED_SPACE / 1e9:.1f} are needed"
            return Finding(name="space", level="wrong", message=message, cure=cure)
    return Finding(name="space", level="ok", message=f"enough in {context.store.root} and {context.build_root}")


def ask_mirror(context: Context, network: Network) -> tuple[Finding, tuple[float, ...], float | None]:
    """Ask the mirror for its signed indexes: that tries the address, proxies, trust and keys at once.

    With the finding come the dates that it signed (seconds since 1970), none where it was not asked or gave nothing,
    and the date for which its answer was refused.
    """
    if network.offline:
        message, cure = "not asked: --offline", "berth doctor, with a network"
        return Finding(name="mirror", level="warning", message=message, cure=cure), (), None
    dates: list[float] = []
    refused: list[float] = []

    def check() -> Finding:
        source = open_source(context, network)
        source = replace(source, patience=replace(source.patience, attempts=_ATTEMPTS))
        if source.mirrors is None:
            cure = "set BERTH_MIRROR to a Debian mirror's base URL"
            return Finding(name="mirror", level="wrong", message="none is known", cure=cure)
        try:
            archive = open_archive(source, SUITE, ARCHITECTURE)
        except DateError as error:
            refused.append(error.signed)
            raise
        dates.extend(release.date for release in archive.releases)
        signers = {signer for release in archive.releases for signer in release.signers}
        where = f"{source.mirrors.main} ({source.mirrors.origin})"
        message = f"{where}: {len(archive.releases)} suites, signed by {len(signers)} known keys"
        return Finding(name="mirror", level="ok", message=message)

    found = examine("mirror", check)
    return found, tuple(dates), refused[0] if refused else None


def check_clock(dates: Sequence[float], mirror: Finding, refused: float | None = None) -> Finding:
    """Hold this clock against the signed dates: behind the newest Release file, it is wrong.

    Ahead of them it may be, or the mirror stands still: that shows where its files have expired (`refused`).
    """
    now = time.time()
    if refused is not None:
        days = abs(now - refused) / 86400
        message = f"this clock says {day(now)}, {days:.0f} days {'ahead of' if now > refused else 'behind'} the mirror"
        cure = "if that is wrong, set it, for example by NTP; if it is right, choose another mirror"
        return Finding(name="clock", level="wrong", message=message, cure=cure)
    if not dates:
        return untried("clock", "not compared", mirror)
    behind = max(dates) - now
    if behind > _SKEW:
        message = f"this clock is at least {behind / 3600:.1f} hours behind"
        return Finding(name="clock", level="wrong", message=message, cure="set it, for example by NTP")
    return Finding(name="clock", level="ok", message="not behind the mirror's newest signed date")


def untried(name: str, what: str, mirror: Finding) -> Finding:
    """Return the finding of a check that only a mirror's answer would allow."""
    if mirror.level == "wrong":
        why, cure = "the mirror gave nothing", "what the mirror's line says, then berth doctor again"
    else:
        why, cure = "no mirror was asked", str(mirror.cure)
    return Finding(name=name, level="warning", message=f"{what}: {why}", cure=cure)


def check_accelerator(context: Context, network: Network, mirror: Finding) -> Finding:
    """Start a tiny guest: a /dev/kvm that opens is not yet one that works."""
    try:
        tools = working_tools(context, network)
    except OfflineError:
        return untried("accelerator", "not tried, for QEMU is not unpacked here", mirror)
    chosen = accelerator.choose(tools)
    if chosen.name == "kvm":
        return Finding(name="accelerator", level="ok", message=f"KVM: {chosen.reason}")
    cure = (
        "nothing has to be done: QEMU emulates, some ten times slower. For KVM: virtualization on, and /dev/kvm yours"
    )
    return Finding(name="accelerator", level="warning", message=f"none: {chosen.reason}", cure=cure)


def check_port(port: int) -> Finding:
    """See whether the default recipe's published port is free here."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            message = f"in use ({error.strerror}); `berth run` takes another and says so"
            cure = "nothing has to be done; or end what listens there, or choose a port with `berth run --forward`"
            return Finding(name=f"port {port}", level="warning", message=message, cure=cure)
    return Finding(name=f"port {port}", level="ok", message="free")
