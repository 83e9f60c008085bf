"""From a finished root tree to one slot's two images."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol
from uuid import UUID

from builder.errors import BuildError
from builder.image import erofs, initramfs, ustar, verity
from builder.image.treeview import TreeView
from builder.progress import SilentProgress
from builder.rootfs.entry import Entry, Kind, Tree
from builder.rootfs.tarstream import write_tar
from init.formats import bootimage, disk, envblock

if TYPE_CHECKING:
    from builder.fetch.store import Store
    from builder.progress import Progress
    from builder.recipe.model import Recipe
    from init.formats.release import Release

_WITH_BYTES = (Kind.FILE, Kind.HARDLINK)
MOST_CMDLINE = 2047  # Linux on x86: COMMAND_LINE_SIZE is 2048 with its zero byte

# `quiet` and the consoles: what is to be read is PID 1's status page, on the screen and the first serial port alike.
WORDS = (
    "quiet",
    "cryptomgr.notests",  # self tests alone: 29 % of the kernel's instructions up to PID 1
    # One more self test. It asks modprobe for a cipher, and so waits until the whole initramfs is unpacked, which goes
    # on beside the rest of the kernel's start otherwise.
    "initcall_blacklist=crypto_kdf108_init",
    "transparent_hugepage=madvise",  # with min_free_kbytes put back by PID 1: 64 to 85 MB of a 1 GiB machine
    "panic=1",  # the try is spent already, so that the next boot takes the other slot
    "console=tty0",
    "console=ttyS0,115200",
)


class Tools(Protocol):
    """What of the tools tree is needed here."""

    def run(
        self,
        tool: str,
        *arguments: str,
        input: bytes | BinaryIO | None = None,  # noqa: A002 - its name there
        output: Path | None = None,
    ) -> bytes:
        """Run a tool that writes `output` and return what it printed; raise ToolError, or OSError for a full disk."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SlotImage:
    """One slot. `boot` and `root` are what goes into its two partitions; the rest is what they were made of.

    `hash_offset` is in bytes; `cmdline` is the text that stands in `boot`.
    """

    boot: Path
    root: Path
    vmlinuz: Path
    initramfs: Path
    root_hash: str
    hash_offset: int
    cmdline: str


def build_slot(
    tree: Tree,
    *,
    store: Store,
    tools: Tools,
    recipe: Recipe,
    release: Release,
    out: Path,
    progress: Progress | None = None,
) -> SlotImage:
    """Write `boot.img`, `root.img`, `vmlinuz` and `initramfs` into the folder `out`.

    The tree holds the kernel as `boot/vmlinuz-VERSION`; `/boot` itself stays out of the root. Equal arguments give
    equal bytes. Raises BuildError where the tree lacks what a slot needs or an image is larger than its partition.
    """
    progress = progress or SilentProgress()
    out.mkdir(parents=True, exist_ok=True)
    view = TreeView(tree, store)
    kernel = view.read(f"boot/vmlinuz-{release.kernel}")
    # Each takes seconds of one processor, in a process of its own.
    with ThreadPoolExecutor(max_workers=1) as second:
        # Who wants no compression builds often, and waits for each.
        level = initramfs.FAST if recipe.build.compression.algorithm == "none" else initramfs.BEST
        packing = second.submit(_initramfs, view, tools, release.kernel, level, progress)
        sealed = _root(tree, store=store, tools=tools, recipe=recipe, release=release, out=out, progress=progress)
        packed = packing.result()

    cmdline = command_line(sealed, recipe.build.cmdline)
    boot = boot_image(kernel, packed, cmdline, epoch=release.epoch)
    fits("boot", len(boot), disk.BOOT_MIB * disk.MIB, "leave out kernel modules in build.modules")
    for name, data in (("vmlinuz", kernel), ("initramfs", packed), ("boot.img", boot)):
        (out / f"{name}.part").write_bytes(data)
        publish(out / f"{name}.part", out / name)
    return SlotImage(
        boot=out / "boot.img",
        root=out / "root.img",
        vmlinuz=out / "vmlinuz",
        initramfs=out / "initramfs",
        root_hash=sealed.root_hash,
        hash_offset=sealed.hash_offset,
        cmdline=cmdline,
    )


def _initramfs(view: TreeView, tools: Tools, kernel: str, level: int, progress: Progress) -> bytes:
    task = progress.task("initramfs", unit="steps")
    packed = initramfs.build(view, tools, kernel, level=level)
    task.done(f"{len(packed) / disk.MIB:.1f} MiB")
    return packed


def _root(
    tree: Tree, *, store: Store, tools: Tools, recipe: Recipe, release: Release, out: Path, progress: Progress
) -> verity.Verity:
    task = progress.task("root image", unit="steps")
    tree = without_boot(tree)
    compression = recipe.build.compression
    part = out / "root.img.part"
    tree_id = identity(tree, repr(compression))
    erofs.make(
        part,
        tools,
        lambda stream: write_tar(tree, store, stream, release.epoch),
        compression=compression,
        uuid=uuid_of("erofs", tree_id),
        epoch=release.epoch,
        names=[(entry.path, entry.target or entry.path) for entry in tree.entries if entry.kind in _WITH_BYTES],
    )
    # A salt that lasts as long as the machine class: unchanged data keep their hash blocks from release to release.
    salt = hashlib.sha256(f"berth.verity {release.machine_class}".encode()).digest()
    sealed = verity.append(part, tools, salt=salt, uuid=uuid_of("verity", tree_id))
    size = part.stat().st_size
    task.done(f"{size / disk.MIB:.1f} MiB")
    fits("root", size, recipe.build.root_mib * disk.MIB, "raise build.root_mib")
    publish(part, out / "root.img")
    return sealed


def command_line(sealed: verity.Verity, extra: tuple[str, ...]) -> str:
    """Return the slot's kernel command line. Raises BuildError where it would be too long for the kernel."""
    text = " ".join((*WORDS, f"berth.root={sealed.root_hash},{sealed.hash_offset}", *extra))
    if len(text) > MOST_CMDLINE - 256:  # GRUB's script and the operator add their words
        raise BuildError(f"the kernel's command line has {len(text)} letters", hint="shorten build.cmdline")
    return text


def boot_image(kernel: bytes, packed: bytes, cmdline: str, *, epoch: int) -> bytes:
    """Return the ustar archive that GRUB boots from. Raises BuildError where the command line doesn't fit its block."""
    try:
        env = envblock.encode({"cmdline": cmdline}, bootimage.CMDLINE_BYTES)
    except ValueError as error:
        raise BuildError(f"the kernel's command line: {error}", hint="shorten build.cmdline") from error
    members = {bootimage.KERNEL: kernel, bootimage.INITRAMFS: packed, bootimage.CMDLINE: env}
    return ustar.archive({**members, bootimage.SUMS: bootimage.sums(members)}, mtime=epoch)


def without_boot(tree: Tree) -> Tree:
    """Return the tree without what is in `/boot`: kernels lie outside of the root, where GRUB can read them."""
    return Tree(tuple(entry for entry in tree.entries if not entry.path.startswith("boot/")))


def identity(tree: Tree, options: str) -> bytes:
    """Return a digest of everything that a root image is made of."""
    digest = hashlib.sha256(options.encode())
    for entry in tree.entries:
        digest.update(_line(entry).encode() + b"\n")
    return digest.digest()


def _line(entry: Entry) -> str:
    fields = (entry.path, entry.kind.value, entry.mode, entry.uid, entry.gid, entry.size, entry.sha256, entry.target)
    return repr((*fields, entry.device, entry.xattrs))


def uuid_of(purpose: str, digest: bytes) -> UUID:
    """Return a UUID of version 8 (RFC 9562: of one's own making) derived from a digest."""
    value = int.from_bytes(hashlib.sha256(f"berth {purpose} ".encode() + digest).digest()[:16], "big")
    value = value & ~(0xF << 76) | 8 << 76
    return UUID(int=value & ~(3 << 62) | 2 << 62)


def fits(name: str, size: int, most: int, hint: str) -> None:
    """Raise BuildError where an image is larger than its partition (both in bytes)."""
    if size > most:
        raise BuildError(f"the {name} image is {size} bytes, its partition holds {most}", hint=hint)


def publish(part: Path, final: Path) -> None:
    """Give a finished file its name, so that under that name there is never half of one."""
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(final)
