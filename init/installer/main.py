"""The installer's program: a child of PID 1, which hands on what it says.

    install --disk only-empty|smallest|largest|serial:…|PATH [--wipe SERIAL] [--dry-run]
    install --loader [--disk serial:…|PATH] [--dry-run]

One JSON object a line on stdout, each with `state`: `planned`, `writing` (with `step`), then `done` or `refused`, which
is the last. Nothing is written before `planned` was said.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from init.blockdevice.direct import DirectDevice
from init.formats import cmdline
from init.formats.loader import FOLDER
from init.installer import config, disks, medium, renew
from init.installer.plan import Plan, Refusal, Request, plan
from init.installer.state import PROGRAM, StateMaker
from init.installer.write import Content, WriteError, install

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from init.installer.plan import Disk

    Say = Callable[[dict[str, object]], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """Where the installer finds things; a test has folders of its own."""

    disks: disks.Places = field(default_factory=disks.Places)
    mount: Path = Path(medium.PLACE)
    command_line: Path = medium.COMMAND_LINE
    kept: Path = config.KEPT
    loader: Path = Path(FOLDER)
    mkfs: tuple[str, ...] = PROGRAM
    pause: Callable[[float], None] = time.sleep

    def node(self, disk: Disk) -> str:
        """Return the file by which a disk is opened."""
        return str(self.disks.dev / disk.path.removeprefix("/dev/"))


class Refused(Exception):
    """Nothing is written."""

    def __init__(self, reason: str, hint: str = "", disk: Disk | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.disk = disk


def main(words: list[str]) -> int:
    """Plan and install; 0 when that was done, 1 when it was refused."""
    parser = argparse.ArgumentParser(prog="install")
    parser.add_argument("--disk", default="")
    parser.add_argument("--wipe")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--loader", action="store_true")
    given = parser.parse_args(words)
    if given.loader:
        return _told(lambda: renew_loader(given.disk, dry_run=given.dry_run, places=Places(), say=_print), _print)
    return run(given.disk, given.wipe, dry_run=given.dry_run, places=Places(), say=_print)


def run(wanted: str, wipe: str | None, *, dry_run: bool, places: Places, say: Say) -> int:
    """Plan, say it, and unless `dry_run` do it. Every end is said."""
    return _told(lambda: _run(wanted, wipe, dry_run=dry_run, places=places, say=say), say)


def _told(act: Callable[[], None], say: Say) -> int:
    """Do something, and say why where it is refused."""
    try:
        act()
    except Refused as refused:
        say({"state": "refused", **_facts(refused.disk), "reason": refused.reason, "hint": refused.hint})
        return 1
    except (config.ConfigError, medium.MediumError) as error:
        hint = getattr(error, "hint", "")
        say({"state": "refused", **_facts(None), "reason": str(error), "hint": hint})
        return 1
    return 0


def _run(wanted: str, wipe: str | None, *, dry_run: bool, places: Places, say: Say) -> None:
    line = medium.require_live(places.command_line)
    facts, loader = medium.read_loader(places.loader)
    source = medium.read_medium(places.mount, line)
    document = config.along(config.kept_document(places.kept), config.default_document())
    disks.settle(places.disks, places.pause)
    found = disks.present(places.disks, str(places.mount))
    chosen = plan(found, Request(disk=wanted, wipe=wipe, root_mib=facts.root_mib))
    if isinstance(chosen, Refusal):
        raise Refused(chosen.reason, chosen.hint, chosen.disk)
    say({"state": "planned", **_plan(chosen), "version": source.version})
    if dry_run:
        return
    started = time.monotonic()
    path = places.node(chosen.disk)
    files = config.state_files(document) if document else {}
    content = Content(
        loader=loader,
        boot=source.boot,
        root=source.root,
        make_state=StateMaker(path, files, places.mkfs) if files else None,
        guid=lambda: str(uuid.uuid4()).upper(),
    )
    try:
        with DirectDevice(path, writable=True) as device:
            install(device, chosen.layout, content, lambda step: say({"state": "writing", "step": step}))
    except (WriteError, OSError) as error:
        words = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
        hint = "the disk is marked as half installed; the next installation begins anew"
        raise Refused(f"the installation failed: {words}", hint, chosen.disk) from error
    seconds = round(time.monotonic() - started, 2)
    reason = f"{source.version} in {seconds:.1f} s"
    say({"state": "done", **_facts(chosen.disk), "reason": reason, "version": source.version, "seconds": seconds})


def renew_loader(wanted: str, *, dry_run: bool, places: Places, say: Say) -> None:
    """Renew the loader of the disk that booted, or of the installed disk that is named."""
    line = cmdline.parse(places.command_line.read_text(errors="replace"))
    _, parts = medium.read_loader(places.loader)
    installed = [one for one in disks.present(places.disks, str(places.mount)) if one.is_berth]
    meant = [
        one
        for one in installed
        if not wanted or wanted == one.path or (one.serial and wanted == f"serial:{one.serial}")
    ]
    for one in meant:
        with DirectDevice(places.node(one), writable=not dry_run) as device:
            if not wanted and not (line.record and renew.has_record(renew.table_of(device), line.record)):
                continue
            say({"state": "planned", **_facts(one), "reason": "its loader is renewed", "size": one.size})
            if not dry_run:
                try:
                    renew.renew(device, parts)
                except (WriteError, OSError, ValueError) as error:
                    hint = "do not switch the machine off before this went well"
                    raise Refused(f"the loader could not be renewed: {error}", hint, one) from error
                say({"state": "done", **_facts(one), "reason": "the loader was renewed"})
            return
    raise Refused("no installed disk is meant", "name it: --disk serial:… or --disk /dev/…")


def _facts(disk: Disk | None) -> dict[str, object]:
    return {"disk": disk.path if disk else None, "serial": disk.serial if disk else None}


def _plan(chosen: Plan) -> dict[str, object]:
    disk = chosen.disk
    return {
        **_facts(disk),
        "model": disk.model,
        "size": disk.size,
        "reason": chosen.reason,
        "destroys": chosen.destroys,
        "partitions": [{"name": one.name, "size": one.size_bytes} for one in chosen.layout.partitions],
    }


def _print(value: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()
