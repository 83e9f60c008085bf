"""Drivers for the initramfs: rules, closure, tables, and signatures cut off."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import BuildError
from builder.image import kernelmodules as km
from builder.image.treeview import TreeView
from builder.rootfs.entry import Entry, Kind, Tree
from builder.rootfs.plainmodule import MAGIC, plain, without_signature

DEP = """\
kernel/fs/erofs/erofs.ko.xz: kernel/lib/libcrc32c.ko.xz
kernel/lib/libcrc32c.ko.xz:
kernel/arch/x86/crypto/crc32c-intel.ko.xz:
kernel/drivers/md/dm-verity.ko.xz: kernel/drivers/md/dm-mod.ko.xz
kernel/drivers/md/dm-mod.ko.xz:
kernel/fs/isofs/isofs.ko.xz:
kernel/drivers/block/loop.ko.xz:
kernel/sound/soundcore.ko.xz:
kernel/drivers/scsi/mpi3mr/mpi3mr.ko.xz: kernel/drivers/scsi/scsi_transport_sas.ko.xz
kernel/drivers/scsi/scsi_transport_sas.ko.xz:
kernel/drivers/scsi/of-tomorrow.ko.xz:
kernel/drivers/scsi/ses.ko.xz:
kernel/drivers/scsi/scsi_transport_srp.ko.xz:
kernel/drivers/net/card.ko.xz:
"""
ALIAS = """\
# Aliases extracted from modules themselves.
alias crc32c crc32c_intel
alias fs-erofs erofs
alias char-major-14-* soundcore
alias pci:v00001000d000000A5sv*sd*bc*sc*i* mpi3mr
alias usb:v0001p0002d*dc*dsc*dp*ic*isc*ip*in* of_tomorrow
alias scsi:t-0x0d* ses
alias pci:v00008086d00001521sv*sd*bc*sc*i* card
"""
SOFTDEP = "softdep libcrc32c pre: crc32c\nsoftdep soundcore post: x\n"


class Contents:
    """A store in memory whose names are the texts' own hashes."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    def put(self, data: bytes) -> str:
        name = f"{len(self.blobs):064x}"
        self.blobs[name] = data
        return name

    def read(self, sha256: str) -> bytes:
        return self.blobs[sha256]

    def path(self, sha256: str) -> Path:
        raise NotImplementedError


def signed(data: bytes, signature: bytes) -> bytes:
    return data + signature + bytes(8) + len(signature).to_bytes(4, "big") + MAGIC


def view(files: dict[str, bytes]) -> TreeView:
    contents = Contents()
    entries = [
        Entry(path=path, kind=Kind.FILE, sha256=contents.put(data), size=len(data)) for path, data in files.items()
    ]
    return TreeView(Tree(tuple(sorted(entries, key=lambda entry: entry.path))), contents)


def kernel(builtin: str = "kernel/fs/ext4/ext4.ko\n", dep: str = DEP) -> TreeView:
    folder = "usr/lib/modules/6.12"
    files = {
        f"{folder}/{path}": lzma.compress(signed(b"\x7fELF" + path.encode(), b"s" * 256)) for path in km.parse_dep(dep)
    }
    tables = {
        "modules.dep": dep,
        "modules.alias": ALIAS,
        "modules.softdep": SOFTDEP,
        "modules.builtin": builtin,
    }
    return view(files | {f"{folder}/{name}": text.encode() for name, text in tables.items()})


def test_chosen_are_the_classes_with_all_they_depend_on_and_nothing_else() -> None:
    modules = km.collect(kernel(), "6.12")
    names = {km.name_of(path) for path in modules.files}
    root = {"erofs", "libcrc32c", "crc32c_intel", "dm_verity", "dm_mod", "isofs", "loop"}
    # A storage folder's drivers by the bus that they answer to: not an enclosure's lights, nor a library without users.
    assert names == root | {"mpi3mr", "scsi_transport_sas", "of_tomorrow"}
    assert modules.files["kernel/fs/erofs/erofs.ko"] == b"\x7fELFkernel/fs/erofs/erofs.ko.xz"


def test_tables_name_what_is_there_and_nothing_else() -> None:
    modules = km.collect(kernel(), "6.12")
    dep = km.parse_dep(modules.tables["modules.dep"])
    assert dep.keys() == modules.files.keys()
    assert all(path in modules.files for depends in dep.values() for path in depends)
    assert km.parse_alias(modules.tables["modules.alias"]) == [
        ("crc32c", "crc32c_intel"),
        ("fs-erofs", "erofs"),
        ("pci:v00001000d000000A5sv*sd*bc*sc*i*", "mpi3mr"),
        ("usb:v0001p0002d*dc*dsc*dp*ic*isc*ip*in*", "of_tomorrow"),
    ]
    assert modules.tables["modules.softdep"] == "softdep libcrc32c pre: crc32c\n"


def test_what_is_loaded_by_name_answers_to_no_device() -> None:
    """Its news would be lost: drivers are loaded before anybody listens."""
    classes = (km.DeviceClass(name="a card", reason="by name", patterns=("drivers/net/card",), by_name=True),)
    modules = km.collect(kernel(), "6.12", (*km.CLASSES, *classes))
    assert "kernel/drivers/net/card.ko" in modules.files
    assert "card" not in modules.tables["modules.alias"]


def test_what_is_needed_and_nowhere_is_said() -> None:
    with pytest.raises(BuildError, match="the kernel has no isofs"):
        km.collect(kernel(dep=DEP.replace("isofs", "udf")), "6.12")


def test_bytes_that_are_no_module_are_refused() -> None:
    with pytest.raises(BuildError, match=r"kernel module a\.ko\.xz"):
        plain("a.ko.xz", b"not xz")
    with pytest.raises(BuildError, match="neither an ELF file"):
        plain("a.ko", b"text")


def test_a_module_that_is_a_bomb_or_cut_off_is_refused() -> None:
    bomb = lzma.compress(b"\x7fELF" + bytes(100 << 20), preset=0)
    with pytest.raises(BuildError, match=r"kernel module a\.ko\.xz: .* decompression bomb"):
        plain("a.ko.xz", bomb)
    with pytest.raises(BuildError, match=r"kernel module a\.ko\.xz: it is cut off"):
        plain("a.ko.xz", lzma.compress(b"\x7fELF" * 100)[:-1])


@given(
    st.binary(max_size=50).filter(lambda data: not data.endswith(MAGIC)),
    st.lists(st.binary(max_size=20), max_size=3),
)
def test_signatures_are_cut_off_to_the_byte(data: bytes, signatures: list[bytes]) -> None:
    data = b"\x7f" + data
    whole = data
    for signature in signatures:
        whole = signed(whole, signature)
    assert without_signature(whole) == data


def test_a_signature_longer_than_its_module_is_refused() -> None:
    with pytest.raises(ValueError, match="a signature of 99 bytes"):
        without_signature(b"\x7fELF" + bytes(8) + (99).to_bytes(4, "big") + MAGIC)
