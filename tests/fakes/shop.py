"""A repository on this computer: published into, and served on loopback. Signed here, by python-tuf.

What machines read is the format, not who wrote it; and a test has to sign what no publisher would.
"""

from __future__ import annotations

import datetime
import hashlib
import http.server
import threading
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from builder.repository.packs import pack, stored_by
from init.formats import blocks, offer
from init.formats.blocks import Index
from init.formats.offer import Image, Offer

CHANNEL = "stable"


class Shop:
    """A repository on this computer: published into, and served to guests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._keys = {role: Ed25519PrivateKey.generate() for role in ("root", "targets", "snapshot", "timestamp")}
        self._indexes: list[Index] = []
        self._targets: dict[str, TargetFile] = {}
        self._version = 0
        self.sequence = 0
        self.asked: list[str] = []  # the paths that were asked for, in order, without the leading slash
        root = Root(expires=_later(days=300))
        for role in self._keys:
            root.add_key(self._signer(role).public_key, role)
        self.root = self._signed(root)
        self._write("metadata/1.root.json", self.root)
        handler = partial(_Quiet, directory=str(folder), asked=self.asked)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

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
        return int(self._server.server_address[1])

    def publish(self, boot: bytes, root: bytes, /, **said: Any) -> Offer:
        """Publish a release as the channel's newest; `said` is what its offer says besides."""
        images = {}
        for what, image in (("boot", boot), ("root", root)):
            packed = pack([image], stored_by(self._indexes))
            for one, data in packed.packs:
                self._write(blocks.pack_path(one.sha256), data)
            encoded = packed.index.encode()
            name = hashlib.sha256(encoded).hexdigest()
            self._write(offer.index_path(name), encoded)
            self._indexes.append(packed.index)
            images[what] = Image(
                size=packed.index.size, sha256=packed.index.sha256, index_size=len(encoded), index_sha256=name
            )
        self.sequence += 1
        facts = {"channel": CHANNEL, "sequence": self.sequence, "loader": 1, **images, **said}
        one = Offer(**facts)
        data = one.to_json()
        path = offer.channel_target(one.machine_class, CHANNEL)
        head, _, name = path.rpartition("/")
        self._write(f"{offer.TARGETS_PATH}{head}/{hashlib.sha256(data).hexdigest()}.{name}", data)
        self._targets[path] = TargetFile.from_data(path, data, ["sha256"])
        self.sign()
        return one

    def sign(self, *, expires: datetime.datetime | None = None) -> None:
        """Sign the newest state; `expires` is the timestamp's."""
        self._version += 1
        number = self._version
        targets = self._signed(Targets(number, expires=_later(days=200), targets=dict(self._targets)))
        self._write(f"metadata/{number}.targets.json", targets)
        listed = {"targets.json": MetaFile(number)}
        self._write(
            f"metadata/{number}.snapshot.json", self._signed(Snapshot(number, expires=_later(days=100), meta=listed))
        )
        timestamp = Timestamp(number, expires=expires or _later(days=50), snapshot_meta=MetaFile(number))
        self._write("metadata/timestamp.json", self._signed(timestamp))

    def _signer(self, role: str) -> CryptoSigner:
        return CryptoSigner(self._keys[role])

    def _signed(self, signed: Any) -> bytes:
        metadata: Metadata[Any] = Metadata(signed)
        metadata.sign(self._signer(signed.type))
        return bytes(metadata.to_bytes())

    def _write(self, path: str, data: bytes) -> None:
        final = self.folder / path
        final.parent.mkdir(parents=True, exist_ok=True)
        final.write_bytes(data)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *words: Any, asked: list[str], **options: Any) -> None:
        self._asked = asked
        super().__init__(*words, **options)

    def do_GET(self) -> None:
        self._asked.append(self.path.lstrip("/"))
        super().do_GET()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _later(*, days: int) -> datetime.datetime:
    """Guests' clocks are the host's."""
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0) + datetime.timedelta(days=days)
