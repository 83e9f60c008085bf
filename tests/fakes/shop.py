"""A repository on this computer: published into and served by the product's own code, on loopback.

What no publisher would sign is signed by the forger, with the publisher's keys.
"""

from __future__ import annotations

import datetime
import threading
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from fakes.forger import Forged
from fakes.repositories import now, publisher
from tuf.api.metadata import TargetFile

from builder.artifact.unbundle import read_bundle
from builder.repository.server import Server
from builder.repository.state import target_file_path
from init.formats import offer
from init.formats.offer import Offer

CHANNEL = "stable"
_LATE = 2**32  # seconds since 1970: no machine takes it for older than the release that runs


class Shop:
    """A repository, its keys, and who serves it to guests."""

    def __init__(self, folder: Path) -> None:
        self._forged = Forged(folder)
        self.root = self._forged.root
        self.folder = self._forged.folder
        self.folder.mkdir(exist_ok=True)
        self.asked: list[str] = []  # the paths that were asked for, in order, without the leading slash
        self._server = Server(self.folder, "127.0.0.1", 0, self._heard, lambda: None)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._small = 0

    def __enter__(self) -> Shop:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        """The port on this computer's own address."""
        return self._server.port

    def publish(self, bundle: Path) -> Offer:
        """Publish a bundle as the channel's newest release."""
        made = publisher(self._forged.files, self._forged.keys)
        return made.publish(read_bundle(bundle), CHANNEL).offers[0]

    def publish_small(self, version: str, **said: Any) -> Offer:
        """Publish something small that no machine has; `said` is what its offer says besides."""
        self._small += 1
        return self._forged.publish(self._small, CHANNEL, version=version, epoch=_LATE, **said)

    def expire(self) -> None:
        """Sign a timestamp that is over."""
        past = now() - datetime.timedelta(days=1)
        self._forged.sign("timestamp", lambda signed: setattr(signed, "expires", past))

    def offer_instead(self, one: Offer, **said: Any) -> None:
        """Sign another offer to machines than the one that was published; what is published next is as it should be."""
        data = replace(one, **said).to_json()
        path = offer.channel_target(one.machine_class, CHANNEL)
        target = TargetFile.from_data(path, data, ["sha256"])
        self._forged.files.write(target_file_path(path, target), data)
        self._forged.sign("targets", lambda signed: signed.targets.update({path: target}))

    def _heard(self, _who: str, said: str, _status: int, _count: int) -> None:
        self.asked.append(said.partition(" ")[2].lstrip("/"))
