"""dm-verity over the root image: superblock and hash tree behind the file system, in the same file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from builder.errors import ToolError

if TYPE_CHECKING:
    from pathlib import Path
    from uuid import UUID

BLOCK = 4096


class Runner(Protocol):
    """What of the tools tree is needed here."""

    def run(self, tool: str, *arguments: str) -> bytes:
        """Run a tool and return what it printed; raise ToolError."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verity:
    """Where the superblock begins (bytes from the image's start), and the root hash in hex."""

    root_hash: str
    hash_offset: int


def append(image: Path, runner: Runner, *, salt: bytes, uuid: UUID) -> Verity:
    """Append verity's superblock and tree at the next 4 KiB block. Raises ToolError where veritysetup fails."""
    size = image.stat().st_size
    offset = -(-size // BLOCK) * BLOCK
    if offset != size:
        with image.open("r+b") as file:
            file.truncate(offset)
    printed = runner.run(
        "veritysetup",
        "format",
        str(image),
        str(image),
        f"--hash-offset={offset}",
        f"--data-blocks={offset // BLOCK}",
        f"--data-block-size={BLOCK}",
        f"--hash-block-size={BLOCK}",
        "--hash=sha256",
        f"--salt={salt.hex()}",
        f"--uuid={uuid}",
    )
    found = re.search(rb"^Root hash:\s*([0-9a-f]{64})$", printed, re.MULTILINE)
    if found is None:
        raise ToolError("veritysetup told no root hash")
    return Verity(root_hash=found[1].decode(), hash_offset=offset)
