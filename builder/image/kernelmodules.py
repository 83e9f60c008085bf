"""Which kernel modules the initramfs holds: those that reach the root, and what they depend on.

Drivers of storage controllers are found: every module of the root tree below the kernel's folders for them that answers
to a device of a bus (`BUSES`), so that a newer kernel's new driver comes along; the recipe alone says which of them the
root tree has. What else a boot needs is named by patterns: buses, file systems, watchdogs, a keyboard.

Files are `modules.dep`, `modules.alias`, `modules.softdep` and `modules.builtin` in the form of kmod (modules.dep(5)).
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.errors import BuildError
from builder.rootfs import plainmodule

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from builder.image.treeview import TreeView


# How the aliases of a controller's driver begin. A disk's own driver (`scsi:`, `mmc:`) and a library have none of
# these, and no root hangs on what slides into a laptop (`pcmcia:`).
BUSES = ("acpi*", "pci", "platform", "pnp", "usb", "virtio", "vmbus", "xen")


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceClass:
    """Drivers that belong together.

    Patterns are globs over paths below `kernel/` without `.ko…`; `*` stops at no slash. `folders` bring each module
    below them that answers to a device of a bus. A `needed` class must be in the kernel, built in or as a module, or no
    root can be mounted. What goes `by_name` no device asks for while the root is sought: whoever wants it loads it.
    """

    name: str
    reason: str
    patterns: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    needed: bool = False
    by_name: bool = False


CLASSES: tuple[DeviceClass, ...] = (
    DeviceClass(
        name="root",
        reason="the root's file system and its verification",
        patterns=("fs/erofs/erofs", "drivers/md/dm-verity"),
        needed=True,
    ),
    DeviceClass(
        name="live",
        reason="the root as a file on the ISO",
        patterns=("fs/isofs/isofs", "drivers/block/loop"),
        needed=True,
    ),
    DeviceClass(
        name="storage controllers",
        reason="whatever a disk or a CD can hang on",
        folders=(
            "drivers/ata",
            "drivers/block",
            "drivers/message",
            "drivers/mmc/host",
            "drivers/nvme",
            "drivers/scsi",
            "drivers/ufs",
            "drivers/usb/storage",
        ),
    ),
    DeviceClass(
        name="disks and CDs",
        reason="what hangs on a controller",
        patterns=("drivers/scsi/s[dr]_mod", "drivers/mmc/core/mmc_block"),
    ),
    DeviceClass(
        name="buses",
        reason="what controllers hang on: virtio without PCI, Intel's VMD, USB",
        patterns=(
            "drivers/virtio/virtio_mmio",
            "drivers/pci/controller/vmd",
            "drivers/usb/host/xhci-pci*",
            "drivers/usb/host/[eou]hci-*",
        ),
    ),
    DeviceClass(
        name="watchdog",
        reason="opened before the root is sought, so that a hang there ends",
        patterns=(
            "drivers/watchdog/i6300esb",
            "drivers/watchdog/iTCO_wdt",
            "drivers/watchdog/sp5100_tco",
            "drivers/watchdog/softdog",
            "drivers/mfd/lpc_ich",
            "drivers/mfd/intel_pmc_bxt",
            "drivers/i2c/busses/i2c-i801",
        ),
    ),
    DeviceClass(
        name="keyboard",
        reason="to type in rescue",
        patterns=("drivers/hid/hid-generic", "drivers/hid/usbhid/usbhid", "drivers/input/serio/hyperv-keyboard"),
    ),
    DeviceClass(
        name="power button",
        reason="to leave rescue in order",
        patterns=("drivers/acpi/button", "drivers/input/evdev"),
        by_name=True,
    ),
    DeviceClass(
        name="hyper-v",
        reason="the buses that its disks hang on: its own, and PCI for an NVMe disk handed to a machine",
        patterns=("drivers/hv/hv_vmbus", "drivers/pci/controller/pci-hyperv"),
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Modules:
    """The chosen modules of one kernel: path below its folder (`kernel/…/x.ko`) → bytes, and the tables for them."""

    folder: str  # usr/lib/modules/VERSION
    files: Mapping[str, bytes]
    tables: Mapping[str, str]  # modules.dep, modules.alias, modules.softdep, modules.builtin


def bare(path: str) -> str:
    """Return a module's path without its suffix (`.ko`, `.ko.xz`, …)."""
    return re.sub(r"\.ko(\.\w+)?$", "", path)


def name_of(path: str) -> str:
    """Return a module's name as the kernel spells it: with underscores."""
    return bare(path).rpartition("/")[2].replace("-", "_")


def parse_dep(text: str) -> dict[str, tuple[str, ...]]:
    """Return path → paths it depends on, from `modules.dep`, whose lists are complete already."""
    table: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        path, colon, depends = line.partition(":")
        if colon:
            table[path.strip()] = tuple(depends.split())
    return table


def choose(
    dep: Mapping[str, tuple[str, ...]],
    builtin: Iterable[str],
    aliases: Iterable[tuple[str, str]],
    classes: tuple[DeviceClass, ...],
) -> set[str]:
    """Return the paths (keys of `dep`) of the modules of these classes; `aliases` as `parse_alias` returns them.

    Raises BuildError where a needed one is nowhere.
    """
    chosen: set[str] = set()
    on_bus = {module.replace("-", "_") for pattern, module in aliases if pattern.partition(":")[0] in BUSES}
    for device in classes:
        inside = tuple(f"kernel/{folder}/" for folder in device.folders)
        chosen.update(path for path in dep if path.startswith(inside) and name_of(path) in on_bus)
        for pattern in device.patterns:
            glob = f"kernel/{pattern}"
            matches = [path for path in dep if fnmatch.fnmatchcase(bare(path), glob)]
            chosen.update(matches)
            if device.needed and not matches and glob not in {bare(path) for path in builtin}:
                raise BuildError(
                    f"the kernel has no {name_of(pattern)}, which is needed for {device.reason}",
                    hint="take its path out of build.modules",
                )
    return chosen


def with_dependencies(
    chosen: set[str], dep: Mapping[str, tuple[str, ...]], softdep: str, aliases: Iterable[tuple[str, str]]
) -> set[str]:
    """Return the chosen modules with all that they depend on, soft dependencies (`pre:`) included."""
    by_name = {name_of(path): path for path in dep}
    soft = _soft_dependencies(softdep)
    named = list(aliases)
    result: set[str] = set()
    todo = list(chosen)
    while todo:
        path = todo.pop()
        if path in result or path not in dep:
            continue
        result.add(path)
        todo.extend(dep[path])
        for wanted in soft.get(name_of(path), ()):
            names = {wanted.replace("-", "_"), *(module for pattern, module in named if pattern == wanted)}
            todo.extend(by_name[name] for name in names if name in by_name)
    return result


def _soft_dependencies(text: str) -> dict[str, tuple[str, ...]]:
    table: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) > 3 and words[0] == "softdep" and "pre:" in words:
            before = words[words.index("pre:") + 1 :]
            before = before[: before.index("post:")] if "post:" in before else before
            name = words[1].replace("-", "_")
            table[name] = (*table.get(name, ()), *before)
    return table


def parse_alias(text: str) -> list[tuple[str, str]]:
    """Return (pattern, module) of each line of `modules.alias`, in its order."""
    words = (line.split() for line in text.splitlines())
    return [(line[1], line[2]) for line in words if len(line) == 3 and line[0] == "alias"]


def collect(view: TreeView, version: str, classes: tuple[DeviceClass, ...] = CLASSES) -> Modules:
    """Return the modules that the initramfs of kernel `version` holds, with tables for them alone."""
    folder = f"usr/lib/modules/{version}"
    dep = parse_dep(_table(view, folder, "modules.dep"))
    alias = parse_alias(_table(view, folder, "modules.alias"))
    softdep = _table(view, folder, "modules.softdep", missing="")
    builtin = _table(view, folder, "modules.builtin")
    devices, named = (
        with_dependencies(
            choose(dep, builtin.split(), alias, tuple(one for one in classes if one.by_name is by_name)),
            dep, softdep, alias,
        )
        for by_name in (False, True)
    )  # fmt: skip
    chosen = devices | named
    names, answering = ({name_of(path) for path in paths} for paths in (chosen, devices))
    plain = {path: f"{bare(path)}.ko" for path in dep}
    return Modules(
        folder=folder,
        files={plain[path]: plainmodule.plain(path, view.read(f"{folder}/{path}")) for path in sorted(chosen)},
        tables={
            "modules.dep": "".join(
                f"{plain[path]}:{''.join(f' {plain[other]}' for other in dep[path])}\n" for path in sorted(chosen)
            ),
            "modules.alias": "".join(
                f"alias {pattern} {module}\n" for pattern, module in alias if module.replace("-", "_") in answering
            ),
            "modules.softdep": "".join(
                f"softdep {name} pre: {' '.join(before)}\n"
                for name, before in sorted(_soft_dependencies(softdep).items())
                if name in names
            ),
            "modules.builtin": builtin,
        },
    )


def _table(view: TreeView, folder: str, name: str, missing: str | None = None) -> str:
    path = f"{folder}/{name}"
    if missing is not None and view.find(path) is None:
        return missing
    return view.read(path).decode()
