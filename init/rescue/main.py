"""The way in of a machine in rescue: `python3 -I -B /usr/lib/berth/app rescue --slot S --record GUID …`.

PID 1 stays in the initramfs and starts this in a slot's root that it borrowed (`init.pid1.borrow`). It takes the
lifeline out of the last good configuration (host name, users with their SSH keys, network), brings the network up,
runs sshd, and answers `berthctl rescue status|retry` on the control socket. What it prints, PID 1 shows on every
console. It writes to nothing but memory and, for `retry`, the boot record.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence

from init.formats import release
from init.pid1 import borrow, rescuedisk
from init.pid1.control import Client, Control
from init.pid1.linux.kernel import Kernel
from init.pid1.loop import Loop
from init.rescue import lifeline
from init.rescue.door import Door
from init.rescue.net import Net

AFTER_ANSWER = 3.0  # seconds for an answer to reach its client, through SSH, before the machine goes down


class Rescue:
    """All of it, around one loop."""

    def __init__(self, kernel: Kernel, words: argparse.Namespace) -> None:
        self._kernel = kernel
        self._words = words
        self._loop = Loop(kernel, lambda where, error: say(f"{where}: {type(error).__name__}: {error}"))
        self._release = release.Release.from_json(kernel.read(release.PATH, 65536).decode("utf-8", "replace"))
        self._lifeline = lifeline.read()
        self._net = Net(kernel, self._loop, self._lifeline.machine.network, say)
        self._door = Door(kernel, self._loop, self._lifeline.machine, say)

    def run(self) -> None:
        """Open everything, each under a net of its own, and go on for ever."""
        machine = self._lifeline.machine
        say(self._lifeline.sentence)
        parts = (
            ("host name", lambda: self._kernel.set_hostname(machine.hostname)),
            ("accounts", lambda: lifeline.write_etc(self._kernel, machine, self._release)),
            ("control socket", Control(self._kernel, self._loop, self._answer, say).open),
            ("network", self._net.begin),
            ("ssh", self._door.open),
            ("reaping", self._reap),
        )
        for name, part in parts:
            self._loop.guard(name, part)
        self._loop.run()

    def _reap(self) -> None:
        self._loop.after("reap", 1.0, self._reap)
        for pid, status in self._kernel.reap():
            self._net.ended(pid, status)
            self._door.ended(pid, status)

    def _answer(self, client: Client, request: Mapping[str, object]) -> None:
        match request["verb"], request.get("action"):
            case "rescue-show", _:
                client.send(self._status())
                client.finish()
            case "rescue", "retry":
                self._retry(client)
            case ("reboot" | "poweroff") as how, _:
                client.send({"format": f"berth.{how}/1", "accepted": True})
                client.finish()
                self._leave(how)
            case _:
                client.fail("rescue", "this machine is in rescue: nothing else runs", "berthctl rescue status")

    def _status(self) -> dict[str, object]:
        found = rescuedisk.find(self._kernel, self._words.record)
        slot = self._words.own or None
        return {
            "format": "berth.rescue/1",
            "reason": self._words.reason,
            "kernel": slot,
            "borrowed": {"slot": self._words.slot, "version": self._release.version},
            "slots": rescuedisk.slots(self._kernel, found, slot) if found else {},
            "last_boot": rescuedisk.last_boot(self._kernel, found, slot) if found else None,
            "config": self._lifeline.identity,
            "hostname": self._lifeline.machine.hostname,
            "addresses": self._net.addresses(),
            "ssh": self._door.sentence,
        }

    def _retry(self, client: Client) -> None:
        found = rescuedisk.find(self._kernel, self._words.record)
        if found is None:
            client.fail("disk", "the disk that booted isn't there", "nothing can be retried without it")
            return
        try:
            rescuedisk.reset_tries(self._kernel, found, self._words.own)
        except OSError as error:
            reason = error.strerror or str(error)
            client.fail("record", f"the tries could not be given back: {reason}", "start a Berth ISO to repair it")
            return
        client.send({"format": "berth.rescue-retry/1", "accepted": True})
        client.finish()
        say("every slot has its tries back, as was asked by berthctl: reboot")
        self._leave("reboot")

    def _leave(self, how: str) -> None:
        def go() -> None:
            self._kernel.sync()
            self._kernel.power(how)

        self._loop.after("leave", AFTER_ANSWER, go)


def say(text: str) -> None:
    """Tell people one thing, by PID 1's mouth."""
    sys.stdout.write(f"{borrow.OWN}{text}\n")
    sys.stdout.flush()


def main(words: Sequence[str]) -> int:
    """Run until the machine goes down."""
    parser = argparse.ArgumentParser(prog="rescue")
    parser.add_argument("--slot", required=True, help="the slot whose root this is")
    parser.add_argument("--own", default="", help="the slot whose kernel runs")
    parser.add_argument("--record", required=True, help="the GUID of the booted disk's record-0")
    parser.add_argument("--reason", default="")
    Rescue(Kernel(), parser.parse_args(words)).run()
    return 0
