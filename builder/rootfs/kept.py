"""Keeps what a step found out, as JSON beside the store's blobs, under the hash of everything that it depends on.

A kept text begins with its own hash: one that is damaged, or was cut off by a crash, is as good as none.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from builder.fetch.store import Store


def place(store: Store, kind: str, key: str) -> Path:
    """Return where the value of `kind` (`unpacked`, `bytecode`) with the hex digest `key` is kept."""
    return Path(store.root) / "kept" / kind / key[:2] / f"{key}.json"


def seal(value: Any) -> bytes:
    """Return a JSON value as a text that begins with its own hash."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    return hashlib.sha256(text).hexdigest().encode() + b"\n" + text


def unseal(sealed: bytes) -> Any:
    """Return the value of such a text, None where it is damaged."""
    first, _, text = sealed.partition(b"\n")
    return json.loads(text) if first == hashlib.sha256(text).hexdigest().encode() else None


def load(store: Store, kind: str, key: str) -> Any:
    """Return what was kept, None where nothing was or where it is damaged."""
    try:
        return unseal(place(store, kind, key).read_bytes())
    except OSError:
        return None


def save(store: Store, kind: str, key: str, value: Any) -> None:
    """Keep a JSON value; whoever reads sees all of it or nothing."""
    path = place(store, kind, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = store.scratch()  # what a killed build leaves there is swept away by the next
    try:
        with (folder / key).open("wb") as stream:
            stream.write(seal(value))
            stream.flush()
            os.fsync(stream.fileno())
        (folder / key).replace(path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def key_of(*parts: str | bytes) -> str:
    """Return the hex digest of parts, told apart whatever they hold."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


def code(*files: str | None) -> str:
    """Return the hash of the given source files: an edited step never finds what its older self kept."""
    return key_of(*(Path(file).read_bytes() for file in files if file))
