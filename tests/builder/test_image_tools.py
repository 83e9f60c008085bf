"""Slot images of real packages, and what QEMU and mtools say, with the programs of the tools tree."""

from __future__ import annotations

import contextlib
import errno
import filecmp
import os
import random
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

import pytest
from fakes.newc import read as read_cpio

from builder.artifact.contents import Contents, contents_of
from builder.cli.context import Context
from builder.cli.inputs import Network, ready_lock, ready_tools
from builder.emulate import accelerator, nocloud
from builder.errors import ToolError
from builder.fetch.store import Store
from builder.image import elf, erofs, initramfs, verity
from builder.image.cpio import Node
from builder.image.kernelmodules import parse_dep
from builder.image.treeview import TreeView
from builder.images import bake
from builder.pipeline import Order, release_of, root_tree
from builder.progress import SilentProgress
from builder.recipe import load
from builder.recipe.model import Compression, HotFiles
from builder.rootfs.entry import Entry, Kind, Tree
from builder.rootfs.tarstream import write_tar
from builder.rootfs.unpack import build_tree
from builder.stages.dpkgdb import FOLDER as DATABASE
from builder.stages.run import STAGES
from builder.steps import Steps
from builder.tools.call import Tools
from init.formats import release as releases
from init.formats.release import Release

pytestmark = pytest.mark.packages

ROOT = Path(__file__).resolve().parents[2]
MOST = 6_000_000  # bytes of the initramfs with the cloud kernel: each million costs a quarter second on BIOS


@pytest.fixture(scope="module")
def context() -> Context:
    with contextlib.chdir(ROOT):
        return Context.create(quiet=True, as_json=False)


@pytest.fixture(scope="module")
def tools(context: Context) -> Tools:
    return ready_tools(context, Network(heal=True))


@dataclass(frozen=True, kw_only=True)
class Packed:
    """The initramfs of `minimal` with the small kernel, packed and unpacked again."""

    packed: bytes
    view_of: Callable[[Release], TreeView]  # the root tree of another release of the same parts
    release: Release
    nodes: dict[str, Node]
    contents: Contents
    tree_of: Callable[[Release], Tree]  # what `view_of` looks at


@pytest.fixture(scope="module")
def packed(context: Context, tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Packed:
    recipe = load("minimal", ["build.kernel=cloud"])
    lock = ready_lock(recipe, tools, context, Network(heal=True))
    unpacked = build_tree(lock, recipe, context.store, SilentProgress())
    release = release_of(recipe, lock, "0" * 64, unpacked.kernel_version)
    folder = tmp_path_factory.mktemp("steps")
    order = Order(
        recipe=recipe, lock=lock, lock_sha256="", store=context.store, tools=tools, steps=Steps(folder),
        out=folder, config=None, progress=SilentProgress(),
    )  # fmt: skip

    baked = bake(recipe, lock, context.store, SilentProgress())

    def tree_of(one: Release) -> Tree:
        return root_tree(order, unpacked, one, baked)[0]

    def view_of(one: Release) -> TreeView:
        return TreeView(tree_of(one), context.store)

    data = initramfs.build(view_of(release), tools, release.kernel)
    plain = tools.run("zstd", "-dc", input=data)
    nodes = {node.path: node for node in read_cpio(plain)}
    return Packed(
        packed=data, view_of=view_of, release=release, nodes=nodes,
        contents=contents_of(recipe, lock, tools.packages), tree_of=tree_of,
    )  # fmt: skip


def test_the_initramfs_is_small_and_the_same_in_another_release(packed: Packed, tools: Tools) -> None:
    """Else an update of one small package would fetch the whole of it."""
    assert len(packed.packed) <= MOST
    another = replace(packed.release, version="another", machine_class="another", epoch=packed.release.epoch + 86400)
    view = packed.view_of(another)
    assert b"another" in view.read(releases.PATH)
    assert initramfs.build(view, tools, another.kernel) == packed.packed


def test_what_is_said_to_be_in_the_image_is_what_its_files_come_from(packed: Packed) -> None:
    """By the tree's own origins, and by the database that scanners read."""
    view, tree = packed.view_of(packed.release), packed.tree_of(packed.release)
    named = {package.name: package.version for package in packed.contents.packages}
    status = dict(
        re.findall(r"^Package: (\S+)\n(?:.+\n)*?Version: (\S+)", view.read(f"{DATABASE}/status").decode(), re.M)
    )
    baked = {"busybox-static"}
    assert {name: version for name, version in named.items() if name not in baked} == status
    made = {"", "baked images", "image demo", "berth", *(name for name, _ in STAGES)}
    assert {entry.origin for entry in tree.entries} - (made - named.keys()) == named.keys()


def test_it_has_what_the_kernel_starts_with(packed: Packed) -> None:
    assert packed.nodes["init"].data.startswith(b"#!/lib64/ld-linux-x86-64.so.2 /usr/bin/python3\n")
    assert stat.S_IMODE(packed.nodes["init"].mode) == 0o755
    assert packed.nodes["dev/console"].device == (5, 1)
    assert stat.S_ISLNK(packed.nodes["usr/bin/python3"].mode)


def test_every_library_is_there(packed: Packed) -> None:
    names = {path.rpartition("/")[2] for path in packed.nodes}
    for path, node in packed.nodes.items():
        if stat.S_ISREG(node.mode) and node.data.startswith(b"\x7fELF") and not path.endswith(".ko"):
            interpreter, libraries = elf.needs(node.data)
            assert set(libraries) <= names, path
            assert interpreter is None or interpreter.rpartition("/")[2] in names


def test_every_module_is_plain_unsigned_and_loadable_from_its_tables(packed: Packed) -> None:
    folder = f"usr/lib/modules/{packed.release.kernel}/"
    modules = {path.removeprefix(folder) for path in packed.nodes if path.endswith(".ko")}
    dep = parse_dep(packed.nodes[folder + "modules.dep"].data.decode())
    assert dep.keys() == modules
    assert {other for depends in dep.values() for other in depends} <= modules
    assert not [path for path in modules if b"Module signature appended" in packed.nodes[folder + path].data[-40:]]


def test_pid_1_imports_from_it_alone(packed: Packed, tmp_path: Path) -> None:
    """Unpacked into a folder, its own Python imports each of our modules in it, and finds nothing missing."""
    for path, node in packed.nodes.items():
        target = tmp_path / path
        if stat.S_ISDIR(node.mode):
            target.mkdir(parents=True, exist_ok=True)
        elif stat.S_ISLNK(node.mode):
            target.symlink_to(node.data.decode())
        elif stat.S_ISREG(node.mode):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(node.data)
            target.chmod(stat.S_IMODE(node.mode))
    own = sorted(
        path.removeprefix("usr/lib/berth/app/").removesuffix(".pyc").removesuffix("/__init__").replace("/", ".")
        for path in packed.nodes
        if path.startswith("usr/lib/berth/app/") and path.endswith(".pyc")
    )
    assert {"init.pid1.main", "init.light"} <= set(own)
    assert "usr/lib/python3.13/dataclasses.pyc" not in packed.nodes, "the light one stands in its place, as in /init"
    folder = tmp_path / "usr/lib/berth/app"
    program = tmp_path / "imports.py"  # from a file, as /init is: for `-c`, Python itself imports more
    modules = ", ".join(("init.light", "init.lightjson", *own))
    program.write_text(f"import sys; sys.path.insert(0, {str(folder)!r}); import {modules}")
    loader = [
        str(tmp_path / "lib64/ld-linux-x86-64.so.2"),
        "--library-path",
        str(tmp_path / "usr/lib/x86_64-linux-gnu"),
    ]
    done = subprocess.run(
        [*loader, str(tmp_path / "usr/bin/python3"), "-sSB", str(program)],
        env={"PYTHONHOME": str(tmp_path / "usr")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def small_tree(store: Store) -> Tree:
    text, noise = b"text " * 100_000, os.urandom(30_000)
    mixed = b"".join(os.urandom(40) + bytes(40) for _ in range(3000))
    files = {"a": text, "b": noise, "c": mixed, "empty": b""}
    entries = [Entry(path="", kind=Kind.DIRECTORY, mode=0o755)]
    entries += [
        Entry(path=name, kind=Kind.FILE, mode=0o640, size=len(data), sha256=store.put(data))
        for name, data in files.items()
    ]
    entries += [Entry(path="hard", kind=Kind.HARDLINK, target="a"), Entry(path="link", kind=Kind.SYMLINK, target="a")]
    return Tree(tuple(sorted(entries, key=lambda entry: entry.path)))


def make_root(tree: Tree, store: Store, tools: Tools, image: Path, *, how: Compression | None = None) -> None:
    erofs.make(
        image, tools, lambda stream: write_tar(tree, store, stream, 7), compression=how or Compression(),
        uuid=UUID(int=1), epoch=7,
    )  # fmt: skip


@pytest.mark.parametrize("recipe", ["minimal", "docker"])
def test_large_files_pack_alike_on_any_number_of_processors(tmp_path: Path, tools: Tools, recipe: str) -> None:
    """mkfs.erofs cuts a file into pieces of 16 MiB and gives them to whichever worker is free."""
    store, source = Store(tmp_path / "store"), random.Random(1)
    files = []
    for name, pieces in (("one", 5000), ("two", 2300)):
        data = b"".join(source.randbytes(300) + source.randbytes(20) * 385 for _ in range(pieces))
        files.append(Entry(path=name, kind=Kind.FILE, mode=0o644, size=len(data), sha256=store.put(data)))
    tree, images = Tree((Entry(path="", kind=Kind.DIRECTORY, mode=0o755), *files)), []
    ours = os.sched_getaffinity(0)
    try:
        for processors in (ours, {min(ours)}):
            os.sched_setaffinity(0, processors)
            images.append(tmp_path / f"{len(images)}.img")
            make_root(tree, store, tools, images[-1], how=load(recipe).build.compression)
    finally:
        os.sched_setaffinity(0, ours)
    assert filecmp.cmp(*images, shallow=False)
    assert images[0].stat().st_size < sum(file.size for file in files) / 8


def test_a_root_reads_back_and_its_seal_holds(tmp_path: Path, tools: Tools) -> None:
    store = Store(tmp_path / "store")
    tree, image = small_tree(store), tmp_path / "root.img"
    make_root(tree, store, tools, image)
    again = tmp_path / "again.img"
    make_root(tree, store, tools, again)
    assert image.read_bytes() == again.read_bytes()
    sealed = verity.append(image, tools, salt=b"s" * 32, uuid=UUID(int=2))
    tools.run("veritysetup", "verify", str(image), str(image), sealed.root_hash, f"--hash-offset={sealed.hash_offset}")
    tools.run("fsck.erofs", f"--extract={tmp_path / 'out'}", str(image))
    for entry in tree.entries:
        if entry.kind is Kind.FILE:
            assert (tmp_path / "out" / entry.path).read_bytes() == store.read(entry.sha256)
    with image.open("r+b") as file:
        file.seek(1024)
        file.write(b"x")
    with pytest.raises(ToolError):
        tools.run(
            "veritysetup", "verify", str(image), str(image), sealed.root_hash, f"--hash-offset={sealed.hash_offset}"
        )


def longest(extents: str) -> int:
    """Return the bytes of the longest compressed cluster that `dump.erofs -e` shows."""
    return max(int(line.split("|")[-1]) for line in extents.splitlines() if re.match(r" *[0-9]+:", line))


def test_hot_files_are_packed_in_their_own_way(tmp_path: Path, tools: Tools) -> None:
    store = Store(tmp_path / "store")
    tree = small_tree(store)
    names = [
        (entry.path, entry.target or entry.path) for entry in tree.entries if entry.kind in (Kind.FILE, Kind.HARDLINK)
    ]

    def packed(*hot: HotFiles) -> bytes:
        compression = Compression(algorithm="lzma", level=1, hot=hot)
        erofs.make(
            tmp_path / "x", tools, lambda stream: write_tar(tree, store, stream, 7), compression=compression,
            uuid=UUID(int=1), epoch=7, names=names,
        )  # fmt: skip
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith("x")] == ["x"]  # no table is left over
        return (tmp_path / "x").read_bytes()

    def extents(path: str) -> str:
        return tools.run("dump.erofs", f"--path={path}", "-e", str(tmp_path / "x")).decode()

    def hot(algorithm: str, cluster: int, *paths: str) -> HotFiles:
        return HotFiles(algorithm=algorithm, level=1, cluster=cluster, paths=paths)

    packed()
    plain = {path: extents(path) for path in ("/a", "/c")}
    packed(hot("zstd", 4096, "/hard"))
    linked = extents("/a")
    # One record has another algorithm, the other one the image's own in smaller clusters.
    once = packed(hot("zstd", 4096, "/a"), hot("lzma", 4096, "/a", "/c"))
    assert extents("/a") == linked != plain["/a"]  # a hard link's file is hot by either name, and the first one decides
    assert extents("/c") != plain["/c"]
    assert longest(plain["/c"]) > 4096 == longest(extents("/c"))
    assert packed(hot("zstd", 4096, "/a"), hot("lzma", 4096, "/a", "/c")) == once
    tools.run("fsck.erofs", f"--extract={tmp_path / 'out'}", str(tmp_path / "x"))
    for entry in tree.entries:
        if entry.kind is Kind.FILE:
            assert (tmp_path / "out" / entry.path).read_bytes() == store.read(entry.sha256)


def test_what_fails_while_the_tar_is_written_is_the_error(tmp_path: Path, tools: Tools) -> None:
    def breaks(stream: object) -> None:
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        erofs.make(tmp_path / "x", tools, breaks, compression=Compression(), uuid=UUID(int=1), epoch=0)


ON_A_SMALL_DISK = """
import io, os, sys, tarfile
from pathlib import Path
from uuid import UUID
from fakes import conditions
from builder.image import erofs
from builder.recipe.model import Compression
from builder.tools.call import Tools
tools, folder, files, size = Tools(root=Path(sys.argv[1]), key=""), Path(sys.argv[2]), *map(int, sys.argv[3:])
conditions.enter_namespaces(conditions.CLONE_NEWNS)
conditions.check(conditions.LIBC.mount(b"small", os.fsencode(folder), b"tmpfs", 0, b"size=8m"), "mount")
def write_tar(out):
    with tarfile.open(fileobj=out, mode="w|") as tar:
        for number in range(files):
            member = tarfile.TarInfo(str(number))
            member.size = size
            tar.addfile(member, io.BytesIO(os.urandom(size)))
try:
    erofs.make(folder / "root.img", tools, write_tar, compression=Compression(), uuid=UUID(int=1), epoch=0)
except OSError as error:
    print(error.errno, error.filename, os.listdir(folder))
"""


@pytest.mark.parametrize(
    ("files", "size"),
    [
        (3000, 8192),  # mkfs.erofs waits for ever for the worker that met the end of the disk
        (1, 20 << 20),  # it ends, and says that the archive were damaged
    ],
)
def test_a_disk_that_fills_while_mkfs_runs_is_the_error(tmp_path: Path, tools: Tools, files: int, size: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", ON_A_SMALL_DISK, str(tools.root), str(tmp_path), str(files), str(size)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
    )  # fmt: skip
    try:
        told, _ = process.communicate(timeout=120)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert told == f"{errno.ENOSPC} {tmp_path / 'root.img'} ['root.img']\n"


def test_a_config_becomes_a_nocloud_disk(tmp_path: Path, tools: Tools) -> None:
    config = b"#cloud-config\nhostname: box\n" + b"# filler\n" * 100_000
    image = tmp_path / "with, comma and \xe9.img"
    nocloud.make_disk(config, image, tools)
    assert [path.name for path in tmp_path.iterdir()] == [image.name]
    read = {name: tools.run("mtype", "-i", str(image), f"::{name}") for name in ("user-data", "meta-data")}
    assert read["user-data"] == config
    assert read["meta-data"].decode() == f"instance-id: {nocloud.instance_id(config)}\n"
    assert b"cidata" in image.read_bytes()[:512]
    tools.run("fsck.fat", "-n", str(image))


def test_a_tiny_guest_answers_where_an_accelerator_works_and_not_elsewhere(tools: Tools) -> None:
    assert accelerator.answers(tools, accelerator.TCG_ARGUMENTS)
    assert not accelerator.answers(tools, ("-accel", "nonesuch"))


def test_kvm_is_not_taken_on_faith(tmp_path: Path, tools: Tools) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("flags : fpu sse2\n")
    assert "neither vmx nor svm" in accelerator.choose(tools, cpuinfo=cpuinfo).reason
    cpuinfo.write_text("flags : fpu vmx\n")
    assert "cannot be opened" in accelerator.choose(tools, cpuinfo=cpuinfo, device=tmp_path / "none").reason
