"""A machine config as a NoCloud disk, cloud-init's own form: FAT, labelled `cidata`, `user-data` and `meta-data`."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LABEL = "cidata"
_SPARE_KIB = 512


class Runner(Protocol):
    """What of the tools tree is needed here."""

    def run(self, tool: str, *arguments: str, env: Mapping[str, str] | None = None) -> bytes:
        """Run a tool and return what it printed; raise ToolError."""


def instance_id(config: bytes) -> str:
    """Return `i-` and 16 hex digits of the config's SHA-256: another config is another instance."""
    return "i-" + hashlib.sha256(config).hexdigest()[:16]


def make_disk(config: bytes, image: Path, runner: Runner, *, beside: Mapping[str, bytes] | None = None) -> None:
    """Write a NoCloud disk to `image`; other files are made beside it and taken away. Raises ToolError.

    `beside` are further documents by their names, or another `meta-data`.
    """
    made = f"instance-id: {instance_id(config)}\n".encode()
    files = {"user-data": config, "meta-data": made, **(beside or {})}
    size = sum((len(data) + 1023) // 1024 for data in files.values()) + _SPARE_KIB
    image.unlink(missing_ok=True)
    runner.run("mkfs.fat", "-C", "-n", LABEL, "-i", hashlib.sha256(config).hexdigest()[:8], str(image), str(size))
    for name, data in files.items():
        source = image.with_name(f"{image.name}.{name}")
        source.write_bytes(data)
        try:
            runner.run("mcopy", "-i", str(image), str(source), f"::{name}", env={"MTOOLS_SKIP_CHECK": "1"})
        finally:
            source.unlink()
