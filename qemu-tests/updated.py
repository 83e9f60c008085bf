"""A machine that takes releases from a shop on this computer: its configuration, and what is asked of it."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fakes.shop import CHANNEL, Shop
from machine import Machine
from releases import HOST
from remote import Key, Login

from init.formats import events, updates

Built = Callable[..., dict[str, Path]]
ROOT = Path(__file__).resolve().parent.parent
CLOUD = ("minimal", "--set", "build.kernel=cloud", "--out", "build/out/minimal-cloud")
BAD_PAGE = "/www/index.html"  # without it the container's health check gets a 404
CONFIG = """#cloud-config
hostname: kept-out
preserve_hostname: true
disable_root: false
users: [{{name: root, ssh_authorized_keys: ["{key}"]}}]
berth:
  health: {{within: {within}, settle: 3s}}
  update: {{repository: "http://{host}:{port}/", channel: {channel}, policy: {policy}{window}, root: {root}}}
"""


def config(shop: Shop, key: Key, policy: str = "manual", *, within: str = "40s") -> str:
    """Return the machine's configuration: root's key, short gates, the shop.

    A `window` has been open for longer than the spread of a fleet, so a machine looks 20 s after its boot gate.
    """
    root = json.dumps(shop.root.decode())
    opened = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=62)
    span = f"{opened:%H:%M}-{opened + datetime.timedelta(hours=5):%H:%M}"
    window = f', window: "{span}"' if policy == "window" else ""
    words = {"key": key.public, "policy": policy, "window": window, "within": within, "root": root}
    return CONFIG.format(host=HOST, port=shop.port, channel=CHANNEL, **words)


class Box:
    """The machine, and its root's log-in."""

    def __init__(self, machine: Machine, login: Login) -> None:
        self.machine = machine
        self.login = login

    def update(self, *words: str) -> tuple[int, dict[str, Any]]:
        """Run `berthctl update`; return its status and its answer."""
        done = self.login.run(f"berthctl update {' '.join(words)} --json")
        assert done.out, self.machine.explain(f"update {words} said nothing: {done.err}")
        return done.status, json.loads(done.out)

    def status(self) -> dict[str, Any]:
        """Ask `berthctl status`."""
        found: dict[str, Any] = self.login.json("berthctl status --json")
        return found

    def takes(self, version: str, *words: str) -> dict[str, Any]:
        """Take the newest release, and see it confirmed after its reboot."""
        after = len(self.machine.seen)
        status, answer = self.update("apply", "--reboot", *words)
        assert (status, answer["state"], answer["version"]) == (0, updates.SWITCHED, version), answer
        end = self.machine.wait(events.SHUTDOWN_CLEAN, after=after)
        assert end["state_unmounted"]
        self.machine.wait(events.BOOT_GOOD, after=after, version=version)
        self.machine.wait(events.UPDATE_STATE, after=after, state=updates.GOOD, version=version)
        return answer

    def comes_back(self, version: str, reason: str) -> None:
        """Take a release that does not make it."""
        after = len(self.machine.seen)
        status, answer = self.update("apply", "--reboot")
        assert (status, answer["state"]) == (0, updates.SWITCHED), answer
        fell = self.machine.wait(events.BOOT_FELLBACK, after=after, timeout=400.0)
        assert (fell["from"], fell["reason"]) == (version, reason), self.machine.explain(str(fell))
        self.machine.wait(events.UPDATE_STATE, after=after, state=updates.RETURNED)
        self.machine.wait(events.HEALTH_PASSED, after=self.machine.seen.index(dict(fell)))
        status, answer = self.update("apply")
        assert (status, answer["state"]) == (1, updates.REFUSED), answer
        assert "held" in answer["reason"]
        last = self.status()["last_return"]
        assert (last["from"], last["reason"]) == (version, reason)
