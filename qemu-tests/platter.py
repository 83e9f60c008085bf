"""What lies on a machine's disk while it is off: read, damaged, its boot record changed. The disk is a qcow2."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from builder.tools.call import Tools
from init.formats import bootrecord, disk
from init.formats.bootrecord import Record

if TYPE_CHECKING:
    from init.formats.bootrecord import Slot

_LAYOUT = disk.lay_out(4 << 21)  # where a partition before `state` begins is the same on every disk


@dataclass(frozen=True, kw_only=True)
class Platter:
    """One disk; `folder` is for what goes through files."""

    path: Path
    tools: Tools
    folder: Path

    def read(self, offset: int, length: int) -> bytes:
        """Read whole sectors; offsets and lengths in bytes."""
        out = self.folder / "read.bin"
        out.unlink(missing_ok=True)
        end = (offset + length) // disk.SECTOR  # qemu-img's `count` counts what it skips
        self.tools.run(
            "qemu-img", "dd", "-f", "qcow2", "-O", "raw", f"bs={disk.SECTOR}", f"skip={offset // disk.SECTOR}",
            f"count={end}", f"if={self.path}", f"of={out}",
        )  # fmt: skip
        return out.read_bytes()[:length]

    def write(self, offset: int, data: bytes) -> None:
        """Write bytes."""
        source = self.folder / "write.bin"
        source.write_bytes(data)
        self.tools.run("qemu-io", "-f", "qcow2", "-c", f"write -s {source} {offset} {len(data)}", str(self.path))

    def spoil(self, partition: str, offset: int = 0, length: int = 4096) -> None:
        """Overwrite a part of a partition."""
        at = _LAYOUT.named(partition).offset_bytes + offset
        self.tools.run("qemu-io", "-f", "qcow2", "-c", f"write -P 0xa5 {at} {length}", str(self.path))

    def record(self) -> Record:
        """Return the boot record in force."""
        first, second = (
            self.read(_LAYOUT.number(number).offset_bytes, bootrecord.COPY_BYTES) for number in disk.RECORDS
        )
        found = bootrecord.current((first, second))
        assert found is not None, "no copy of the record is valid"
        return found

    def put_record(self, record: Record) -> None:
        """Put a record in force, in both copies."""
        for number in disk.RECORDS:
            self.write(_LAYOUT.number(number).offset_bytes, bootrecord.encode(record))

    def leave_tries(self, slot: Slot, tries: int) -> None:
        """Let a slot have so many tries left."""
        record = self.record()
        state = replace(record.slot(slot), tries=tries)
        self.put_record(replace(record, a=state) if slot == "a" else replace(record, b=state))
