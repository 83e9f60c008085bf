"""A whole installation onto a file, checked by programs that are not ours: sgdisk, fsck.fat, e2fsck, debugfs, tar."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest

from builder.artifact import biosboot
from builder.artifact.installable import loader_files
from builder.cli.context import Context
from builder.cli.inputs import Network, ready_tools
from builder.grub.core import DiskLoader, disk_loader
from builder.tools.call import Tools
from init.formats import bootrecord
from init.formats import disk as layouts
from init.installer.disks import Places as DiskPlaces
from init.installer.disks import present
from init.installer.main import Places, Refused, renew_loader, run
from init.installer.mark import is_marked

pytestmark = pytest.mark.packages

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB8Ht8Z3j6yDWPBHQtOp/R9rjWvfMYo3MSA/K6q8D86r me@desk"
CONFIG = f"#cloud-config\nssh_authorized_keys: [{KEY}]\nberth:\n  install: {{disk: only-empty}}\n"
SIZE = layouts.smallest_mib(root_mib=2) * layouts.MIB + 333 * 512
ROOT_HASH = "5a" * 32


@pytest.fixture(scope="module")
def tools() -> Tools:
    """Return the tools tree of this repository's builds."""
    with contextlib.chdir(Path(__file__).parents[2]):  # a build keeps its tree below the working folder
        return ready_tools(Context.create(quiet=True, as_json=False), Network(heal=True))


@pytest.fixture(scope="module")
def loader(tools: Tools) -> DiskLoader:
    return disk_loader(tools)


class Live:
    """A machine that runs from an ISO, as folders and files."""

    def __init__(self, folder: Path, tools: Tools, loader: DiskLoader) -> None:
        self.folder, self.tools = folder, tools
        for name in ("medium/berth", "loader", "sys/class/block", "dev"):
            (folder / name).mkdir(parents=True)
        for name, data in loader_files(loader, tools=tools, root_mib=2, epoch=1_700_000_000).items():
            (folder / "loader" / name).write_bytes(data)
        (folder / "mounts").write_text("")
        (folder / "user-data").write_text(CONFIG)
        (folder / "cmdline").write_text(f"quiet berth.root={ROOT_HASH},4096 berth.media=iso\n")
        self.images = {"boot": bytes(range(251)) * 4000, "root": b"root" * 300_000}
        parts = []
        for name, data in self.images.items():
            (folder / f"medium/berth/{name}.img").write_bytes(data)
            parts.append({"name": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()})
        manifest = {"root_hash": ROOT_HASH, "release": {"version": "1.0"}, "parts": parts}
        (folder / "medium/berth/manifest.json").write_text(json.dumps(manifest))

    def disk(self, name: str, serial: str) -> Path:
        """Add an empty disk."""
        facts = self.folder / "sys/class/block" / name
        facts.mkdir()
        (facts / "size").write_text(f"{SIZE // 512}\n")
        (facts / "serial").write_text(f"{serial}\n")
        with (self.folder / "dev" / name).open("wb") as file:
            file.truncate(SIZE)
        return self.folder / "dev" / name

    def install(
        self, wanted: str = "only-empty", *, wipe: str | None = None, dry_run: bool = False
    ) -> list[dict[str, Any]]:
        """Run the installer; return what it said."""
        said: list[dict[str, Any]] = []
        status = run(wanted, wipe, dry_run=dry_run, places=self.places, say=said.append)
        assert status == (1 if said[-1]["state"] == "refused" else 0)
        return said

    @property
    def places(self) -> Places:
        """Where everything is."""
        return Places(
            disks=self.disks,
            mount=self.folder / "medium",
            command_line=self.folder / "cmdline",
            kept=self.folder / "user-data",
            loader=self.folder / "loader",
            mkfs=tuple(self.tools.argv("mkfs.ext4")),
            pause=lambda _: None,
        )

    @property
    def disks(self) -> DiskPlaces:
        """Where its disks are."""
        return DiskPlaces(sys=self.folder / "sys", dev=self.folder / "dev", mounts=self.folder / "mounts")


@pytest.fixture
def live(tmp_path: Path, tools: Tools, loader: DiskLoader) -> Live:
    return Live(tmp_path, tools, loader)


def part(disk: Path, name: str, into: Path) -> Path:
    """Copy a partition out."""
    one = layouts.lay_out(SIZE // 512, root_mib=2).named(name)
    with disk.open("rb") as file:
        file.seek(one.offset_bytes)
        into.write_bytes(file.read(one.size_bytes))
    return into


def test_an_installed_disk_satisfies_everybody(live: Live, tools: Tools, loader: DiskLoader, tmp_path: Path) -> None:
    disk = live.disk("vda", "S1")
    said = live.install()
    assert [one["state"] for one in said if one["state"] != "writing"] == ["planned", "done"]
    assert (said[0]["disk"], said[0]["serial"], said[0]["version"]) == ("/dev/vda", "S1", "1.0")
    assert "No problems found" in tools.run("sgdisk", "-v", str(disk)).decode()
    shown = tools.run("sgdisk", "-p", str(disk)).decode()
    assert re.findall(r"(\S+)$", shown, re.MULTILINE)[-9:] == [
        "bios", "esp", "record-0", "record-1", "boot-a", "boot-b", "root-a", "root-b", "state",
    ]  # fmt: skip
    esp = part(disk, "esp", tmp_path / "esp")
    tools.run("fsck.fat", "-n", str(esp))
    out = tmp_path / "BOOTX64.EFI"
    tools.run("mcopy", "-i", str(esp), "::/EFI/BOOT/BOOTX64.EFI", str(out))
    assert out.read_bytes() == loader.efi
    with disk.open("rb") as file:
        assert file.read(440) == biosboot.boot_code(loader.boot_sector, 2048)
    core = part(disk, "bios", tmp_path / "bios").read_bytes()
    assert core.startswith(biosboot.placed_core(loader.core, 2048, layouts.MIB))
    for name in ("record-0", "record-1"):
        with tarfile.open(part(disk, name, tmp_path / name)) as archive:
            assert archive.getnames() == [bootrecord.FILE_NAME]
    assert part(disk, "boot-a", tmp_path / "boot").read_bytes().startswith(live.images["boot"])
    assert part(disk, "root-a", tmp_path / "root").read_bytes().startswith(live.images["root"])


def test_state_holds_the_config_without_install(live: Live, tools: Tools, tmp_path: Path) -> None:
    disk = live.disk("vda", "S1")
    live.install()
    state = part(disk, "state", tmp_path / "state")
    tools.run("e2fsck", "-f", "-n", str(state))
    tools.run("debugfs", "-R", f"dump /var/lib/berth/config/user-data {tmp_path / 'out'}", str(state))
    assert (tmp_path / "out").read_text() == f"#cloud-config\nssh_authorized_keys: [{KEY}]\n"
    shown = tools.run("debugfs", "-R", "ls -l /var/lib/berth/config", str(state)).decode()
    assert re.search(r"100600 .* user-data", shown)


def test_twice_gives_other_guids_and_only_by_the_serial_number(live: Live, tools: Tools) -> None:
    disk = live.disk("vda", "S1")

    def guid() -> str:
        found = re.search(r"Disk identifier \(GUID\): (\S+)", tools.run("sgdisk", "-p", str(disk)).decode())
        assert found is not None
        return found[1]

    live.install()
    first = guid()
    refused = live.install()
    assert "a Berth machine is installed on it" in refused[-1]["reason"]
    assert guid() == first
    assert live.install("/dev/vda", wipe="S1")[-1]["state"] == "done"
    assert guid() != first
    assert "No problems found" in tools.run("sgdisk", "-v", str(disk)).decode()


def test_a_dry_run_and_every_refusal_write_nothing(live: Live) -> None:
    disk, other = live.disk("vda", "S1"), live.disk("vdb", "S2")
    refused = live.install()
    assert refused[-1]["state"] == "refused"
    assert "2 disks are empty" in refused[-1]["reason"]
    assert live.install("serial:S1", dry_run=True)[-1]["state"] == "planned"
    (live.folder / "user-data").write_text("#cloud-config\nberth: {install: {disk: largest}}\n")
    assert "nobody a way in" in live.install("serial:S1")[-1]["reason"]
    (live.folder / "user-data").write_text(CONFIG)
    (live.folder / "cmdline").write_text("berth.record=X berth.slot=a\n")
    assert "from an installed disk" in live.install("serial:S1")[-1]["reason"]
    (live.folder / "cmdline").write_text(f"berth.root={'00' * 32},4096 berth.media=iso\n")
    assert "not of the system that runs" in live.install("serial:S1")[-1]["reason"]
    for path in (disk, other):
        assert path.stat().st_blocks == 0


def test_a_medium_that_rotted_leaves_a_disk_that_is_taken_up_again(live: Live) -> None:
    disk = live.disk("vda", "S1")
    root = live.folder / "medium/berth/root.img"
    root.write_bytes(live.images["root"][:-1] + b"X")
    refused = live.install()
    assert "the medium is damaged" in refused[-1]["reason"]
    assert is_marked(disk.read_bytes()[:512])
    [found] = present(live.disks, "")
    assert found.is_interrupted
    root.write_bytes(live.images["root"])
    said = live.install()
    assert "interrupted installation" in said[0]["reason"]
    assert said[-1]["state"] == "done"


def test_the_loader_of_the_disk_that_booted_is_renewed(live: Live, tools: Tools, tmp_path: Path) -> None:
    disk = live.disk("vda", "S1")
    live.install()
    live.disk("vdb", "S2")
    live.install("serial:S2")
    found = re.search(r"unique GUID: (\S+)", tools.run("sgdisk", "-i", "3", str(disk)).decode())
    assert found is not None
    (live.folder / "cmdline").write_text(f"quiet berth.slot=a berth.record={found[1].lower()}\n")
    with disk.open("r+b") as file:
        file.write(bytes(440))
        file.seek(layouts.MIB)
        file.write(bytes(2 * layouts.MIB))
    said: list[dict[str, Any]] = []
    renew_loader("", dry_run=True, places=live.places, say=said.append)
    assert disk.read_bytes()[:440] == bytes(440)
    renew_loader("", dry_run=False, places=live.places, say=said.append)
    assert [(one["state"], one["serial"]) for one in said] == [("planned", "S1"), ("planned", "S1"), ("done", "S1")]
    assert "No problems found" in tools.run("sgdisk", "-v", str(disk)).decode()
    tools.run("fsck.fat", "-n", str(part(disk, "esp", tmp_path / "esp")))
    assert disk.read_bytes()[:440] == (live.folder / "loader/boot.img").read_bytes()
    with pytest.raises(Refused, match="no installed disk"):
        renew_loader("serial:", dry_run=False, places=live.places, say=said.append)
