"""A machine as far as updates see it: a forgetful disk with slots and boot record, GRUB's rule, PID 1's record."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from fakes.blockdevice import LossyDisk
from fakes.published import MemoryRepository, Published

from init.blockdevice.device import Part, padded
from init.formats import bootrecord, updates
from init.formats.bootrecord import Record
from init.formats.updates import UpdateRecord
from init.pid1.record import BootRecord
from init.updater import run
from init.updater.decide import Running
from init.updater.report import Teller
from init.updater.slot import Slot

RECORD_BYTES = 4096
BOOT_BYTES = 64 << 10
ROOT_BYTES = 256 << 10
RECORDS = ("record-0", "record-1")


class Updatable:
    """A machine whose slot a holds `first`, confirmed; slot b holds `second`, or nothing."""

    def __init__(self, first: Published, second: Published | None = None, *, seed: int = 0) -> None:
        self.disk = LossyDisk(2 * RECORD_BYTES + 2 * (BOOT_BYTES + ROOT_BYTES), seed=seed)
        self.parts: dict[str, Part] = {}
        offset = 0
        sizes = dict.fromkeys(RECORDS, RECORD_BYTES) | {
            f"{kind}-{slot}": size for kind, size in (("boot", BOOT_BYTES), ("root", ROOT_BYTES)) for slot in "ab"
        }
        for name, size in sizes.items():
            self.parts[name] = Part(self.disk, offset, size, name)
            offset += size
        self.kept = updates.encode(UpdateRecord())
        self.repository = MemoryRepository()
        self.told: list[str] = []
        self.put("a", first)
        record = bootrecord.fresh("a", good=True)
        if second is not None:
            self.put("b", second)
            record = bootrecord.confirm(bootrecord.confirm(record, "b"), "a")
        for name in RECORDS:
            self.parts[name].write(0, bootrecord.encode(record))
        self.disk.sync()
        self.disk.operations = self.disk.written = 0

    def put(self, slot: str, published: Published) -> None:
        self.parts[f"boot-{slot}"].write(0, padded(published.boot))
        self.parts[f"root-{slot}"].write(0, padded(published.root))

    # What GRUB and PID 1 see

    def copies(self) -> tuple[bytes, bytes]:
        first, second = (self.parts[name].read(0, bootrecord.COPY_BYTES) for name in RECORDS)
        return first, second

    def record(self) -> Record:
        found = bootrecord.current(self.copies())
        assert found is not None
        return found

    def boots(self) -> str | None:
        """Switch on: GRUB counts a try and says which slot boots."""
        decision = bootrecord.decide(self.copies())
        for write in decision.writes:
            self.parts[RECORDS[write.copy]].write(0, write.data)
        self.disk.sync()
        return decision.slot

    def holds(self, slot: str, published: Published) -> bool:
        """Tell whether a slot holds a release to the last byte."""
        boot = self.parts[f"boot-{slot}"].read(0, len(published.boot))
        root = self.parts[f"root-{slot}"].read(0, len(published.root))
        return (boot, root) == (published.boot, published.root)

    # `Blocks` of PID 1, as far as the record needs it

    def read_blocks(self, path: str, offset: int, length: int) -> bytes:
        return self.parts[path].read(offset, length)

    def write_blocks(self, path: str, offset: int, data: bytes) -> None:
        self.parts[path].write(offset, data)
        self.parts[path].sync()

    def boot_record(self, slot: str) -> BootRecord:
        return BootRecord(self, RECORDS, slot, "boot")  # type: ignore[arg-type]

    # The updater's doors

    def load(self) -> UpdateRecord:
        return updates.decode(self.kept)

    def store(self, record: UpdateRecord) -> None:
        self.disk.tick()
        self.kept = updates.encode(record)

    def slot(self, name: str) -> Slot:
        return Slot(name=name, boot=self.parts[f"boot-{name}"], root=self.parts[f"root-{name}"])

    def update(self, offer: Callable[[], Published], slot: str = "a", *, again: bool = False) -> bool:
        """Run the updater in `slot`."""
        running = self.slot(slot)
        target = self.slot("b" if slot == "a" else "a")
        record = self.boot_record(slot)

        class _Switch:
            def vacate(self, slot: str) -> None:
                assert slot == target.name
                record.change(lambda record, own: bootrecord.vacate(record, bootrecord.other(own)))

            def prefer(self, slot: str) -> None:
                assert slot == target.name
                record.change(lambda record, own: bootrecord.prefer(record, bootrecord.other(own), good=False))

        doors = run.Doors(
            offer=lambda: offer().offer,
            repository=self.repository,
            running=running,
            target=target,
            keeper=self,
            switch=_Switch(),
            teller=Teller(self.told.append, lambda: None, lambda: 0.0),
            time=lambda: 1_795_000_000.0,
            clock=lambda: 0.0,
        )
        return run.apply(doors, self.machine(running), again=again)

    def machine(self, running: Slot) -> Running:
        from init.updater import slot as slots  # noqa: PLC0415 - the fake of `main._machine`

        try:
            size = slots.members(running.boot)[1]
            slot_hash = hashlib.sha256(running.boot.read(0, size)).hexdigest()
        except ValueError:
            slot_hash = ""
        return Running(
            machine_class="minimal-amd64", channel="stable", version="v1", epoch=0, loader=1, slot_hash=slot_hash,
            boot_room=BOOT_BYTES, root_room=ROOT_BYTES,
        )  # fmt: skip
