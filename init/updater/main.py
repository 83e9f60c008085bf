"""The updater: `python3 -I -B /usr/lib/berth/app updater check|apply …`, started by PID 1, which tells it the facts.

Each line on stdout is one object for PID 1, `{"state": …, "version", "reason", …}`; the last one is how it ended. The
exit status is 0 where the state is one that was asked for: current, available or switched.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from init.blockdevice.direct import DirectDevice
from init.formats import bootrecord, cmdline, disk, release, updates
from init.updater import check, run
from init.updater import slot as slots
from init.updater.decide import Running
from init.updater.fetch import Repository
from init.updater.http import Web
from init.updater.report import FileKeeper, Teller
from init.updater.run import Doors
from init.updater.slot import Slot
from init.updater.switch import CONTROL, ControlSwitch


def parser() -> argparse.ArgumentParser:
    """Return the command line, which only PID 1 writes."""
    whole = argparse.ArgumentParser(prog="updater")
    whole.add_argument("action", choices=("check", "apply"))
    whole.add_argument("--disk", required=True, help="the disk whose slot runs, /dev/vda")
    whole.add_argument("--slot", required=True, choices=disk.SLOTS, help="the slot that runs")
    whole.add_argument("--repository", required=True)
    whole.add_argument("--channel", required=True)
    whole.add_argument("--floor", type=float, default=0.0, help="the clock is not believed below it; seconds, UTC")
    whole.add_argument("--root", help="the file with the config's trusted root")
    whole.add_argument("--again", action="store_true", help="take a held release, too")
    whole.add_argument("--state", default=updates.FOLDER)
    whole.add_argument("--control", default=CONTROL)
    return whole


def main(words: Sequence[str]) -> int:
    """Run; return the exit status."""
    arguments = parser().parse_args(words)
    teller = Teller()
    web = Web()
    with ExitStack() as stack:
        try:
            running = _open(stack, arguments.disk, arguments.slot, writable=False)
            other = bootrecord.other(arguments.slot)
            target = _open(stack, arguments.disk, other, writable=arguments.action == "apply")
            machine = _machine(running, target, arguments.channel)
        except (OSError, ValueError) as error:
            teller.tell(updates.FAILED, reason=str(error))
            return 1
        doors = Doors(
            offer=lambda: check.newest(
                repository=arguments.repository,
                machine_class=machine.machine_class,
                channel=machine.channel,
                root=check.trusted_root(arguments.root),
                kept=Path(arguments.state) / "tuf",
                floor=max(arguments.floor, machine.epoch),
                fetcher=check.Fetcher(web),
            ),
            repository=Repository(arguments.repository, web, alive=lambda: None, sleep=time.sleep),
            running=running,
            target=target,
            keeper=FileKeeper(f"{arguments.state}/record.json"),
            switch=ControlSwitch(arguments.control),
            teller=teller,
        )
        if arguments.action == "apply":
            return 0 if run.apply(doors, machine, again=arguments.again) else 1
        _, verdict = run.look(doors, machine, again=arguments.again)
        return 0 if verdict.state in (updates.CURRENT, updates.AVAILABLE) else 1


def _open(stack: ExitStack, whole: str, name: str, *, writable: bool) -> Slot:
    """Open a slot's partitions by their fixed numbers; raise OSError."""
    boot, root = (slots.node(whole, number) for number in (disk.BOOTS[name], disk.ROOTS[name]))
    return Slot(
        name=name,
        boot=stack.enter_context(DirectDevice(boot, writable=writable)),
        root=stack.enter_context(DirectDevice(root, writable=writable)),
    )


def _machine(running: Slot, target: Slot, channel: str) -> Running:
    """Gather what the rules need to know; raise OSError, ValueError."""
    own = release.Release.from_json(Path(release.PATH).read_text())
    line = cmdline.parse(Path("/proc/cmdline").read_text())
    try:
        slot_hash = slots.digest(running.boot, slots.members(running.boot)[1])
    except ValueError:
        slot_hash = ""  # whatever runs did not come from this partition as it is now: then anything may follow
    loader = line.parameters.get("berth.loader", "")
    return Running(
        machine_class=own.machine_class,
        channel=channel,
        version=own.version,
        epoch=own.epoch,
        loader=int(loader) if loader.isdecimal() else bootrecord.LOADER_FORMAT,
        slot_hash=slot_hash,
        boot_room=target.boot.size,
        root_room=target.root.size,
    )
