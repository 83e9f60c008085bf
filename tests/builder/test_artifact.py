"""Artifacts that need no program of the tools tree: qcow2, bundle, manifest, bill of materials, differences."""

from __future__ import annotations

import hashlib
import json
import os
import random
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from builder.artifact import bom, bundle, difference, inspect, iso, manifest, output, qcow2
from builder.artifact.contents import Contents, contents_of
from builder.artifact.manifest import Manifest
from builder.cli import diff
from builder.cli import inspect as inspect_verb
from builder.cli.main import main
from builder.errors import BuildError, InputError
from builder.grub import core
from builder.image.slot import SlotImage
from builder.lock.model import Lock, LockedPackage, LockedPart, LockedRelease
from builder.recipe import load
from builder.rootfs.entry import Entry, Kind, Tree
from builder.rootfs.exclude import Saved
from init.formats import bootrecord, disk, gpt
from init.formats.release import Release

RELEASE = Release(
    name="demo", version="1.0", machine_class="demo-amd64", engine="crun", kernel="6.12", epoch=1_700_000_000
)
HASH = "ab" * 32
ENTRIES = (
    Entry(path="", kind=Kind.DIRECTORY, mode=0o755),
    Entry(path="dev/null", kind=Kind.CHARACTER, mode=0o666, device=(1, 3)),
    Entry(path="usr/bin/crun", kind=Kind.FILE, mode=0o755, origin="crun", size=100, sha256="11" * 32),
    Entry(path="usr/bin/ping", kind=Kind.FILE, mode=0o755, size=7, sha256="22" * 32, xattrs=(("a", b"\0\1"),)),
    Entry(path="usr/bin/so", kind=Kind.HARDLINK, target="usr/bin/crun", origin="crun"),
    Entry(path="usr/lib/berth/dpkg/status", kind=Kind.FILE, size=50, sha256="66" * 32, origin="dpkgdb"),
    Entry(path="usr/lib/berth/images/sh", kind=Kind.FILE, size=9, sha256="23" * 32, origin="busybox-static"),
    Entry(path="usr/lib/libstdc++.so", kind=Kind.FILE, size=11, sha256="24" * 32, origin="libstdc++6"),
    Entry(path="usr/lib/modules/6.12-cloud/x.ko", kind=Kind.FILE, size=8, sha256="25" * 32, origin="linux-cloud"),
    Entry(path="usr/bin/runc", kind=Kind.SYMLINK, mode=0o777, target="crun", origin="crun", uid=7, gid=8),
)


def package(name: str = "crun", version: str = "1:1.21-1+b1", *parts: str) -> LockedPackage:
    return LockedPackage(
        name=name, version=version, architecture="amd64", source=name, source_version=version, suite="trixie",
        filename=f"pool/main/{name}_{version}.deb", size=1000, sha256="33" * 32, parts=parts,
    )  # fmt: skip


LOCK = Lock(
    recipe="demo",
    architecture="amd64",
    epoch=RELEASE.epoch,
    releases=(
        LockedRelease(suite="trixie", archive="main", date=1, valid_until=None, sha256="44" * 32, signers=("A",)),
    ),
    packages=(
        package("busybox-static", "1.37.0-6", "image-demo"),
        package("crun", "1:1.21-1+b1", "root"),
        package("dash", "0.5.12", "image-another"),
        package("libstdc++6", "14.2.0~rc1-19", "root", "image-demo"),
        package("linux-cloud", "6.12.1", "kernel-cloud"),
        package("linux-full", "6.12.1", "kernel-full"),
    ),
    parts=tuple(
        LockedPart(name=name, requests=())
        for name in ("image-another", "image-demo", "kernel-cloud", "kernel-full", "root")
    ),
)
TOOLS = (package("grub-common", "2.12"), package("grub-efi-amd64-bin", "2.12"), package("grub-pc-bin", "2.12"))
LAYOUT = "sha256:" + "ef" * 32
RECIPE = """\
build:
  suite: trixie
  architecture: amd64
  kernel: KERNEL
  images:
    demo: {packages: [busybox-static], entrypoint: [/bin/sh]}
    notes: {files: {/notes: hello}, entrypoint: [/sh]}
    web: {oci: web.tar, digest: 'LAYOUT'}
"""


def contents(folder: Path, kernel: str = "cloud") -> Contents:
    folder.mkdir(exist_ok=True)
    (folder / "web.tar").write_bytes(b"")
    (folder / "demo.yaml").write_text(RECIPE.replace("KERNEL", kernel).replace("LAYOUT", LAYOUT))
    return contents_of(load(str(folder / "demo.yaml")), LOCK, TOOLS)


@pytest.fixture
def slot(tmp_path: Path) -> SlotImage:
    chance = random.Random(1)
    paths = {}
    for name, size in {"boot": 3000, "root": 100_000, "vmlinuz": 10, "initramfs": 20}.items():
        paths[name] = tmp_path / f"{name}.img"
        paths[name].write_bytes(chance.randbytes(size))
    return SlotImage(**paths, root_hash=HASH, hash_offset=4096, cmdline=f"quiet berth.root={HASH},4096")


@pytest.fixture
def made(slot: SlotImage, tmp_path: Path) -> Manifest:
    class _Recipe:
        name = "demo"

    saved = Saved(pattern="/usr/share/doc/**", reason="nobody reads it here", files=3, size=999)
    return manifest.make_manifest(
        recipe=_Recipe(),  # type: ignore[arg-type] - its name is all that is asked for
        packages=contents(tmp_path / "recipe").packages, release=RELEASE, tree=Tree(ENTRIES), slot=slot,
        lock_sha256="55" * 32, savings=(saved,), machine="#berth\n{}\n",
    )  # fmt: skip


def test_a_manifest_is_read_back(made: Manifest) -> None:
    assert Manifest.from_json(made.to_json()) == made
    assert made.part("root").size == 100_000
    assert {package.name: package.installed for package in made.packages} == {
        "busybox-static": 9, "crun": 100, "libstdc++6": 11, "linux-cloud": 8,
    }  # fmt: skip
    assert made.machine == "#berth\n{}\n"


def test_a_manifest_of_before_the_machine_was_told(made: Manifest) -> None:
    old = json.loads(made.to_json())
    del old["machine"]
    assert Manifest.from_json(json.dumps(old).encode()).machine == ""


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b"\xff", b'{"format": "berth.manifest/2"}', b'{"format": "berth.manifest/1", "recipe": 1}'],
)
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(InputError):
        Manifest.from_json(data)


def test_a_bundle_holds_manifest_boot_and_root_in_this_order(slot: SlotImage, made: Manifest, tmp_path: Path) -> None:
    artifact = bundle.write_bundle(slot=slot, release=RELEASE, manifest=made.to_json(), out=tmp_path / "x.bundle")
    with tarfile.open(artifact.path) as archive:
        members = archive.getmembers()
        content = archive.extractfile("root.img")
        assert content is not None
        assert content.read() == slot.root.read_bytes()
    assert [member.name for member in members] == ["manifest.json", "boot.img", "root.img"]
    assert {(member.uid, member.mode, member.mtime) for member in members} == {(0, 0o644, RELEASE.epoch)}
    assert inspect.inspect(artifact.path).manifest == made
    again = bundle.write_bundle(slot=slot, release=RELEASE, manifest=made.to_json(), out=tmp_path / "y.bundle")
    assert again.sha256 == artifact.sha256


def sparse(path: Path, *, dense: bool) -> Path:
    """Write a disk of 200 MiB with data here and there; `dense` writes its zeros, too."""
    chance = random.Random(2)
    with path.open("wb") as file:
        file.truncate(200 << 20)
        if dense:
            file.write(bytes(8 << 20))
        for offset in (0, 65536 * 3 + 100, (64 << 20) - 5, (200 << 20) - 512):
            file.seek(offset)
            file.write(chance.randbytes(512))
    return path


def test_qcow2_is_the_same_disk_and_does_not_depend_on_holes(tmp_path: Path) -> None:
    disk = sparse(tmp_path / "a.raw", dense=False)
    artifact = qcow2.write_qcow2(raw=disk, out=tmp_path / "a.qcow2")
    other = qcow2.write_qcow2(raw=sparse(tmp_path / "b.raw", dense=True), out=tmp_path / "b.qcow2")
    assert artifact.sha256 == other.sha256
    assert artifact.size < 1 << 20
    with artifact.path.open("rb") as file, disk.open("rb") as raw:
        reader = qcow2.Reader(file)
        assert reader.size == 200 << 20
        for offset, size in ((0, 300_000), ((64 << 20) - 1000, 2000), ((200 << 20) - 600, 5000), (1 << 26, 65536)):
            raw.seek(offset)
            assert reader.read_at(offset, size) == raw.read(size)


def test_the_hash_of_a_sparse_file_is_the_hash_of_its_bytes(tmp_path: Path) -> None:
    disk = sparse(tmp_path / "a.raw", dense=False)
    assert output.describe("raw", disk).sha256 == hashlib.sha256(disk.read_bytes()).hexdigest()


def test_nothing_half_written_takes_the_name(tmp_path: Path) -> None:
    target = tmp_path / "x"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), output.replacing(target) as file:
        file.write(bytes(1 // (file.tell() - file.tell())))
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["x"]
    with pytest.raises(BuildError), output.replacing(tmp_path / "absent" / "x"):
        pass


def test_what_a_killed_build_left_is_taken_away_and_a_living_ones_is_not(tmp_path: Path) -> None:
    (tmp_path / ".x.999999999.part").write_text("left")
    (tmp_path / ".x.1.part").write_text("another build's")
    output.write_bytes(tmp_path / "x", b"new")
    assert sorted(os.listdir(tmp_path)) == [".x.1.part", "x"]


def test_a_bill_of_materials_names_what_is_in_the_image_and_nothing_else(made: Manifest, tmp_path: Path) -> None:
    artifact = bom.write_bom(contents(tmp_path / "recipe"), release=RELEASE, out=tmp_path / "x.spdx.json")
    document = json.loads(artifact.path.read_text())
    assert document["spdxVersion"] == "SPDX-2.3"
    assert document["creationInfo"]["created"] == "2023-11-14T22:13:20Z"
    found = {
        reference["referenceLocator"] for entry in document["packages"] for reference in entry.get("externalRefs", [])
    }
    loader = {f"pkg:deb/debian/{name}@2.12?arch=amd64&distro=trixie" for name in core.PACKAGES}
    assert found - loader == {
        "pkg:deb/debian/busybox-static@1.37.0-6?arch=amd64&distro=trixie",
        "pkg:deb/debian/crun@1%3A1.21-1%2Bb1?arch=amd64&distro=trixie",
        "pkg:deb/debian/libstdc%2B%2B6@14.2.0~rc1-19?arch=amd64&distro=trixie",
        "pkg:deb/debian/linux-cloud@6.12.1?arch=amd64&distro=trixie",
        f"pkg:oci/web@{LAYOUT.replace(':', '%3A')}",
    }
    assert loader < found
    # And so says the image itself: each of its files comes from one of them, or from a stage.
    named = {entry["name"] for entry in document["packages"]} - {*core.PACKAGES, "demo", "web"}
    assert named == {entry.origin for entry in made.entries} - {"", "dpkgdb"}
    identities = [entry["SPDXID"] for entry in document["packages"]]
    assert len(set(identities)) == len(identities) == len(found) + 1
    assert {"algorithm": "SHA256", "checksumValue": "ef" * 32} in document["packages"][-1]["checksums"]
    related = {relation["relatedSpdxElement"] for relation in document["relationships"]}
    assert related == set(identities)


def test_an_image_has_the_packages_of_its_own_kernel_alone(
    made: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inspect_verb.show_manifest(made, everything=True)
    assert "(4 packages, " in capsys.readouterr().out
    full = contents(tmp_path / "recipe", "full")
    assert [package.name for package in full.packages if package.name.startswith("linux")] == ["linux-full"]
    changed = {"dpkgdb": {"size": 60}, "linux-cloud": {"origin": "linux-full"}}
    entries = tuple(replace(entry, **changed.get(entry.origin, {})) for entry in ENTRIES)
    packages = tuple(replace(one, name=one.name.replace("-cloud", "-full")) for one in made.packages)
    other = replace(made, packages=packages, entries=entries)
    diff.show(difference.compare(made, other), files=False)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "dpkgdb +10 B (made by the build)" in lines
    assert "linux-cloud -8 B 6.12.1 → absent" in lines
    assert "linux-full +8 B absent → 6.12.1" in lines


def test_a_difference_tells_packages_files_and_bytes(made: Manifest) -> None:
    changed = list(ENTRIES)
    changed[2] = replace(changed[2], size=150, sha256="99" * 32)
    changed[3] = replace(changed[3], mode=0o4755)
    changed.append(Entry(path="usr/bin/new", kind=Kind.FILE, size=5, sha256="77" * 32, origin="crun"))
    del changed[1]
    packages = (made.packages[0], replace(made.packages[1], version="1.22-1"), *made.packages[2:])
    new = replace(made, entries=tuple(changed), packages=packages, root_hash="cd" * 32)
    found = difference.compare(made, new)
    assert not found.same
    assert [(change.name, change.old_version, change.new_version, change.new_size) for change in found.packages] == [
        ("crun", "1:1.21-1+b1", "1.22-1", 155)
    ]
    assert {change.path: change.what for change in found.files} == {
        "dev/null": ("removed",),
        "usr/bin/crun": ("content",),
        "usr/bin/new": ("added",),
        "usr/bin/ping": ("mode",),
    }
    assert difference.compare(made, made).same
    assert json.dumps(found.to_json())


@pytest.mark.parametrize(
    "data",
    [b"", b"x" * 40_000, b"{", bytes(100_000), b"QFI\xfb" + b"\xff" * 2000, bytes(512) + b"EFI PART" + bytes(9000)],
)
def test_what_is_no_image_is_said_to_be_none(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        inspect.inspect(path)
    assert str(caught.value.place) == str(path)
    with pytest.raises(InputError, match="cannot be read"):
        inspect.inspect(tmp_path / "absent")


# Bytes of the first partition table: all of its header, a byte of where the backup is, a byte of the entries.
TORN = {"header": slice(512, 1024), "length": slice(550, 551), "array": slice(1024, 1025)}


@pytest.mark.parametrize("torn", TORN.values(), ids=list(TORN))
def test_a_disk_is_told_by_its_backup_as_the_machine_reads_it(
    torn: slice, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "disk.raw"
    write_disk(path)
    whole = inspect.inspect(path)
    assert (whole.kind, whole.order, whole.table) == ("raw", "ab", "primary")
    data = bytearray(path.read_bytes())
    data[torn] = bytes(byte ^ 0xFF for byte in data[torn])
    path.write_bytes(data)
    assert inspect.inspect(path) == replace(whole, table="backup")
    found = qcow2.write_qcow2(raw=path, out=tmp_path / "disk.qcow2")
    assert inspect.inspect(found.path) == replace(whole, kind="qcow2", path=found.path, size=found.size, table="backup")
    assert main(["inspect", str(path)]) == 0
    assert "the first partition table is damaged" in capsys.readouterr().out
    data[-512:] = bytes(512)
    path.write_bytes(data)
    with pytest.raises(InputError):
        inspect.inspect(path)


def write_disk(path: Path) -> None:
    """Write a disk that holds the two copies of a boot record and nothing else."""
    sectors, size = 2048, bootrecord.COPY_BYTES // gpt.SECTOR
    guid = "11111111-2222-4333-8444-55555555555"
    entries = {
        number: gpt.Entry(
            type_guid=f"{guid}0",
            guid=f"{guid}{number}",
            first=first,
            last=first + size - 1,
            name=disk.record_name(copy),
        )
        for copy, (number, first) in enumerate(((1, 64), (2, 128)))
    }
    table = gpt.encode(gpt.Table(disk_guid=f"{guid}9", sectors=sectors, entries=entries))
    data = bytearray(sectors * gpt.SECTOR)
    data[: gpt.SECTOR + len(table.primary)] = table.protective_mbr + table.primary
    data[-len(table.backup) :] = table.backup
    for entry in entries.values():
        start = entry.first * gpt.SECTOR
        data[start : start + bootrecord.COPY_BYTES] = bootrecord.encode(bootrecord.fresh("a"))
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("kernel", "label"), [("6.12.57+deb13-amd64", "BERTH"), ("6.12.57+deb13-cloud-amd64", "BERTH_VM_IMAGE")]
)
def test_an_iso_for_virtual_machines_alone_says_so_in_its_name(kernel: str, label: str) -> None:
    assert iso.label_of(replace(RELEASE, kernel=kernel)) == label
