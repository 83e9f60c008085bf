"""A repository in a folder, made by the product, and whoever would deceive its machines: with and without its keys."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fakes.bundles import bundle, numbered
from fakes.repositories import CLASS, keys, no_passphrase, now, publisher
from tuf.api.metadata import Metadata, MetaFile

from builder.artifact.unbundle import read_bundle
from builder.repository import keys as keyfiles
from builder.repository import rotation
from builder.repository.folder import Folder
from builder.repository.state import TIMESTAMP, metadata_path
from init.formats.offer import Offer
from init.updater import check
from init.updater.errors import FailedError, RefusedError
from init.updater.http import Web

ROOT = Path(__file__).resolve().parent.parent.parent
Change = Callable[[Any], None]  # of what is signed, before it is signed


class Forged:
    """A repository and its keys, in a folder; a copy of such a folder is one, too."""

    def __init__(self, folder: Path, *, root_keys: int = 1, threshold: int = 1) -> None:
        self.folder = folder / "www"
        self.keys = folder / "keys"
        if not self.keys.exists():
            keys(self.keys, root_keys=root_keys, threshold=threshold)
        self.root = (self.keys / "root.json").read_bytes()
        self.files = Folder(self.folder)
        self._bundles = folder / "bundles"

    def publish(self, number: int, channel: str = "stable", *, at: datetime.datetime | None = None, **said) -> Offer:
        made = read_bundle(bundle(self._bundles, numbered(number, **said)))
        return publisher(self.files, self.keys, at=at).publish(made, channel).offers[0]

    def refresh(self, **how) -> None:
        publisher(self.files, self.keys, **how).refresh()

    def rotate(self, *roles: str, **how) -> None:
        rotation.rotate(self.keys, roles, now=how.pop("at", now()), passphrase=no_passphrase, **how)

    def path(self, role: str) -> str:
        """Where a role's newest metadata lies."""
        if role == "timestamp":
            return TIMESTAMP
        version = Metadata.from_bytes(self._data(TIMESTAMP)).signed.snapshot_meta.version
        if role == "targets":
            snapshot = Metadata.from_bytes(self._data(metadata_path("snapshot", version))).signed
            version = snapshot.meta["targets.json"].version
        return metadata_path(role, version)

    def key(self, role: str) -> Ed25519PrivateKey:
        return keyfiles.load_key(self.keys / f"{role}.pem", no_passphrase)

    def sign(self, role: str, change: Change, *, by: Sequence[Ed25519PrivateKey] | None = None) -> None:
        """Sign a role's newest metadata anew with a change, and what names it; `by`: with these keys instead."""
        metadata: Metadata[Any] = Metadata.from_bytes(self._data(self.path(role)))
        before = metadata.signed.version
        metadata.signed.version += 1
        change(metadata.signed)
        metadata.signatures.clear()
        for key in [self.key(role)] if by is None else by:
            metadata.sign(keyfiles.signer(key), append=True)
        data = metadata.to_bytes()
        self.files.write(TIMESTAMP if role == "timestamp" else metadata_path(role, before + 1), data)
        named = MetaFile.from_data(before + 1, data, ["sha256"])
        if role == "targets":
            self.sign("snapshot", lambda signed: signed.meta.update({"targets.json": named}))
        elif role == "snapshot":
            self.sign("timestamp", lambda signed: setattr(signed, "snapshot_meta", named))

    def alter(self, path: str, old: bytes, new: bytes) -> None:
        data = self._data(path)
        assert old in data
        self.files.write(path, data.replace(old, new))

    def _data(self, path: str) -> bytes:
        data = self.files.read(path)
        assert data is not None, path
        return data


@dataclass(kw_only=True)
class Looker:
    """A machine that reads repositories; `kept` is its folder on state. With `program`, under another python-tuf."""

    kept: Path
    program: subprocess.Popen[str] | None = None

    def look(self, forged: Forged, *, root: bytes | None = None, floor: float = 0.0, **asked: str) -> Offer:
        """Return the newest offer; raise RefusedError, FailedError."""
        url = forged.folder.as_uri() + "/"
        wanted = {"machine_class": CLASS, "channel": "stable", **asked}
        trusted = root or forged.root
        if self.program is None:
            return check.newest(
                repository=url, root=trusted, kept=self.kept, floor=floor,
                fetcher=check.Fetcher(Web(), sleep=lambda _: None), **wanted,
            )  # fmt: skip
        question = {
            "repository": url, "class": wanted["machine_class"], "channel": wanted["channel"], "root": trusted.hex(),
            "kept": str(self.kept), "floor": floor,
        }  # fmt: skip
        assert self.program.stdin
        assert self.program.stdout
        print(json.dumps(question), file=self.program.stdin, flush=True)
        answer = json.loads(self.program.stdout.readline())
        if "offer" in answer:
            return Offer.from_json(answer["offer"].encode())
        raise {"RefusedError": RefusedError, "FailedError": FailedError}[answer["kind"]](answer["why"])


def looking(packages: Path) -> subprocess.Popen[str]:
    """Start a machine's look under the modules in a folder, without any other but Python's own and ours."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{packages}"}
    return subprocess.Popen(
        [sys.executable, "-S", str(Path(__file__).with_name("looking.py"))], env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
