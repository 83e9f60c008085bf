"""Real packages and the real tools tree: every shipped recipe unpacked, staged and streamed."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import os
import pickle
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.rooted import as_root

from builder.cli.context import Context
from builder.cli.inputs import Network, ready_lock, ready_tools
from builder.fetch.store import Store
from builder.image import elf
from builder.image.treeview import TreeView
from builder.lock.model import Lock
from builder.lock.select import root_packages
from builder.progress import SilentProgress
from builder.recipe import load
from builder.recipe.model import Recipe
from builder.rootfs.entry import Kind, Tree
from builder.rootfs.tarstream import write_tar
from builder.rootfs.unpack import Unpacked, build_tree
from builder.stages import StageContext, bytecode, capabilities, run_stages, scripts
from builder.tools.call import Tools
from init.formats.release import Release

pytestmark = pytest.mark.packages

ROOT = Path(__file__).resolve().parent.parent.parent
NOBODY = 65534


@pytest.fixture(scope="module")
def context() -> Iterator[Context]:
    before = Path.cwd()
    os.chdir(ROOT)  # a build keeps its tools tree below the working folder
    yield Context.create(quiet=True, as_json=False)
    os.chdir(before)


@pytest.fixture(scope="module")
def tools(context: Context) -> Tools:
    return ready_tools(context, Network(heal=True))


Staged = tuple[Recipe, Lock, Unpacked, StageContext]


@pytest.fixture(scope="module")
def staged(context: Context, tools: Tools) -> Callable[[str], Staged]:
    """Return a function that unpacks a shipped recipe with the small kernel."""
    known: dict[str, Staged] = {}

    def get(name: str) -> Staged:
        if name not in known:
            recipe = load(name, ["build.kernel=cloud"])
            lock = ready_lock(recipe, tools, context, Network(heal=True))
            unpacked = build_tree(lock, recipe, context.store, SilentProgress())
            known[name] = (recipe, lock, unpacked, stage_context(recipe, lock, unpacked, context.store, tools))
        return known[name]

    return get


def stage_context(recipe: Recipe, lock: Lock, unpacked: Unpacked, store: Store, tools: Tools) -> StageContext:
    version = unpacked.kernel_version
    release = Release(
        name=recipe.name, version="1", machine_class="test-amd64", engine="none", kernel=version, epoch=lock.epoch
    )
    return StageContext(
        recipe=recipe,
        lock=lock,
        store=store,
        tools=tools,
        release=release,
        kernel_version=version,
        machine_json="{}\n",
        machine_document="#berth\n",
    )


def stream(tree: Tree, store: Store) -> bytes:
    out = io.BytesIO()
    write_tar(tree, store, out, 1_700_000_000)
    return out.getvalue()


@pytest.mark.parametrize("name", ["minimal", "podman", "docker"])
def test_every_script_of_a_shipped_recipe_is_answered_without_excuses(staged, name):
    recipe, _, unpacked, stages = staged(name)
    strict = replace(recipe, build=replace(recipe.build, scripts=()))
    answers = scripts.answers(unpacked, replace(stages, recipe=strict))
    assert {answer.package for answer in answers} >= {"libc6", "openssh-server", "chrony"}
    assert all(answer.answer for answer in answers)


@pytest.mark.parametrize("name", ["minimal", "podman", "docker"])
def test_the_erofs_tool_takes_the_stream(staged, tools, tmp_path, name):
    _, _, unpacked, stages = staged(name)
    tree, report = run_stages(unpacked, stages)
    (tmp_path / "tree.tar").write_bytes(stream(tree, stages.store))
    tools.run("mkfs.erofs", "--tar=f", "--quiet", str(tmp_path / "root.img"), str(tmp_path / "tree.tar"))
    tools.run("fsck.erofs", str(tmp_path / "root.img"))
    with tarfile.open(tmp_path / "tree.tar") as archive:
        assert [member.name.removeprefix(".").strip("/") for member in archive] == [node.path for node in tree.entries]
    assert all(result.note for result in report.stages)
    (tables,) = report.saved  # two that packages bring, two that depmod makes
    assert (tables.files, tables.pattern.count(",")) == (4, 3)
    assert tables.size > 100_000


# Programs whose needs an image lacks on purpose: (path, what is missing) → why that is right. None so far.
EXCUSED: dict[tuple[str, str], str] = {}


def unmet(tree: Tree, store: Store) -> Iterator[tuple[str, str]]:
    """Give (path, what it needs and the tree lacks) for each ELF file and each script that can be started."""
    view = TreeView(tree, store)
    for node in tree.entries:
        if node.kind is not Kind.FILE:
            continue
        with store.path(node.sha256).open("rb") as file:
            head = file.read(256)
        if head.startswith(b"\x7fELF"):
            loader, libraries = elf.needs(store.read(node.sha256))
            if loader is not None and view.find(loader) is None:
                yield node.path, loader
            found = [name for name in libraries if any(view.find(f"{folder}/{name}") for folder in elf.FOLDERS)]
            yield from ((node.path, name) for name in libraries if name not in found)
        elif head.startswith(b"#!") and node.mode & 0o111:
            interpreter, *words = head[2:].partition(b"\n")[0].decode().split()
            if interpreter == "/usr/bin/env":
                interpreter = f"/usr/bin/{words[0]}"
            if view.find(interpreter) is None:
                yield node.path, interpreter


@pytest.mark.parametrize("name", ["minimal", "podman", "docker"])
def test_every_program_has_its_libraries_and_its_interpreter(staged, name):
    """What a rule of a recipe leaves out, no program that stays may be linked to."""
    _, _, unpacked, stages = staged(name)
    tree, _ = run_stages(unpacked, stages)
    assert set(unmet(tree, stages.store)) == EXCUSED.keys()
    libc = "usr/lib/x86_64-linux-gnu/libc.so.6"
    without = {path for path, what in unmet(Tree(tuple(n for n in tree.entries if n.path != libc)), stages.store)}
    assert without >= {"usr/bin/busybox", "usr/bin/crun", "usr/sbin/sshd"} & tree.by_path().keys()
    assert len(without) > 50


PORTS = (
    (8080, 80, "tcp", ""), (53, 5353, "udp", "127.0.0.1"), (54, 5353, "udp", "2001:db8::1"), (55, 1, "tcp", "[::]"),
    (56, 2, "tcp", "0.0.0.0"),
)  # fmt: skip
RULES = """
table inet berth {
  chain raw {
    type filter hook prerouting priority raw; policy accept;
    iifname "berth0" ip daddr 127.0.0.0/8 drop
  }
  chain forward {
    type filter hook forward priority filter; policy accept;
    oifname != "berth0" accept
    iifname "berth0" accept
    ct state established,related accept
    ct status dnat accept
    drop
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    oifname != "berth0" ip saddr 10.89.0.0/16 masquerade
    oifname != "berth0" ip6 saddr fd62:6572:7468::/64 masquerade
    oifname "berth0" ip saddr 127.0.0.0/8 masquerade
    oifname "berth0" ip saddr 10.89.0.0/16 ct status dnat masquerade
    oifname "berth0" ip6 saddr fd62:6572:7468::/64 ct status dnat masquerade
  }
}
table inet berth-web {
  chain published {
    meta nfproto ipv4 tcp dport 8080 dnat ip to 10.89.0.2:80
    meta nfproto ipv6 tcp dport 8080 dnat ip6 to [fd62:6572:7468::2]:80
    ip daddr 127.0.0.1 udp dport 53 dnat ip to 10.89.0.2:5353
    ip6 daddr 2001:db8::1 udp dport 54 dnat ip6 to [fd62:6572:7468::2]:5353
    meta nfproto ipv6 tcp dport 55 dnat ip6 to [fd62:6572:7468::2]:1
    meta nfproto ipv4 tcp dport 56 dnat ip to 10.89.0.2:2
  }
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    fib daddr type local jump published
  }
  chain output {
    type nat hook output priority dstnat; policy accept;
    fib daddr type local jump published
  }
}
"""


def test_a_machine_runs_what_it_needs(staged, tools, tmp_path):
    _, _, unpacked, stages = staged("podman")
    tree, _ = run_stages(unpacked, stages)
    paths = tree.by_path()
    for program in ("usr/bin/python3.13", "usr/bin/podman", "usr/bin/crun", "usr/sbin/sshd", "usr/sbin/mke2fs"):
        assert paths[program].mode & 0o111
    tools.run("tar", "-xpC", str(tmp_path), input=stream(tree, stages.store))
    shutil.copytree(tmp_path / "usr/share/factory/etc", tmp_path / "etc", symlinks=True, dirs_exist_ok=True)
    program = (
        "import sys, ctypes, json, ssl, yaml;"
        "assert ssl.create_default_context().cert_store_stats()['x509_ca'] > 100; assert yaml.CSafeLoader"
    )
    for words in (
        ["/usr/bin/python3", "-IB", "-c", program],
        ["/bin/sh", "-c", "nft --version && chronyd --version && ls / && id sshd && modprobe --version && mke2fs -V"],
        ["/usr/bin/berthctl", "--help"],
        ["/usr/bin/python3", "-ISB", "/usr/lib/berth/app", "berthctl", "--help"],
    ):
        done = subprocess.run(
            [*as_root(), "/usr/sbin/chroot", str(tmp_path), *words], capture_output=True, text=True, check=False,
            env={"PATH": "/usr/sbin:/usr/bin"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    # The machine's rules for ports, given to the kernel by PID 1's child and, as text, by nft: nft reads them alike.
    program = (
        "import os, subprocess, sys; sys.path.insert(0, '/usr/lib/berth/app'); os.unshare(os.CLONE_NEWNET);"
        "from init.containers import nftables, ports; from init.containers.addresses import of_container;"
        "from init.formats.machine import Port;"
        f"given = tuple(Port(host=h, container=c, protocol=p, address=a) for h, c, p, a in {PORTS!r});"
        "nftables.commit(nftables.replace(ports.tables('web', of_container(0), given)));"
        "show = lambda: subprocess.run(['/usr/sbin/nft', 'list', 'ruleset'], check=True, capture_output=True).stdout;"
        "ours = show(); os.unshare(os.CLONE_NEWNET);"
        f"subprocess.run(['/usr/sbin/nft', '-f', '-'], input={RULES!r}, text=True, check=True);"
        "theirs = show(); sys.exit(ours != theirs and (ours + theirs).decode() or len(ours) < 1000)"
    )
    words = [*as_root(), "/usr/sbin/chroot", str(tmp_path), "/usr/bin/python3", "-IB", "-c", program]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={"PATH": "/usr/sbin:/usr/bin"})
    assert done.returncode == 0, done.stderr


def test_byte_code_does_not_depend_on_what_was_compiled_before(staged):
    _, _, unpacked, stages = staged("minimal")
    sources = [
        (node.path, node.sha256)
        for node in unpacked.whole.entries
        if node.kind is Kind.FILE and node.path.endswith(".py") and node.path.startswith(bytecode.FOLDERS)
    ]
    everything = bytecode._compile(sources, stages)
    some = random.Random(1).sample(sources, 40)
    assert bytecode._compile(some, stages) == {path: everything[path] for path, _ in some}


def test_capabilities_are_written_as_setcap_does(tools, tmp_path):
    (tmp_path / "program").write_bytes(b"x")
    # Whoever is root in a user namespace alone sees there what root outside sees of root's.
    code = "import os, sys; sys.stdout.buffer.write(os.getxattr(*sys.argv[1:]))"
    for words in (
        tools.argv("setcap", "cap_net_raw+ep", str(tmp_path / "program")),
        [sys.executable, "-IS", "-c", code, str(tmp_path / "program"), capabilities.XATTR],
    ):
        seen = subprocess.run([*as_root(), *words], capture_output=True, check=False)
        assert seen.returncode == 0, seen.stderr
    assert seen.stdout == capabilities.encode(("cap_net_raw",))


def test_every_kept_module_has_its_needs(staged):
    """What depmod says of the cut modules names no module that is gone."""
    _, _, unpacked, stages = staged("minimal")
    tree, _ = run_stages(unpacked, stages)
    paths = tree.by_path()
    folder = f"usr/lib/modules/{unpacked.kernel_version}"
    text = stages.store.read(paths[f"{folder}/modules.dep"].sha256).decode()
    named = {f"{folder}/{name.rstrip(':')}" for line in text.splitlines() for name in line.split()}
    assert named == {path for path in paths if path.startswith(folder) and ".ko" in path}
    assert f"{folder}/modules.dep.bin" in paths


def _as_nobody(folder: Path, recipe: Recipe, lock: Lock, tools: Tools) -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    os.umask(0o077)
    os.environ.update(TZ="Asia/Tokyo", LC_ALL="C", HOME=str(folder))
    store = Store(folder / "store")
    for path in (folder / "debs").iterdir():
        store.put(path.read_bytes())
    unpacked = build_tree(lock, recipe, store, SilentProgress())
    tree, _ = run_stages(unpacked, stage_context(recipe, lock, unpacked, store, tools))
    digest = hashlib.sha256(stream(tree, store)).hexdigest()
    (folder / "result").write_bytes(pickle.dumps((tree.entries, digest)))


def test_an_unprivileged_user_gets_the_same_bytes_owners_and_modes(staged, tools):
    recipe, lock, unpacked, stages = staged("minimal")
    tree, _ = run_stages(unpacked, stages)
    expected = hashlib.sha256(stream(tree, stages.store)).hexdigest()
    folder = Path(tempfile.mkdtemp(prefix="berth-nobody-"))
    try:
        (folder / "debs").mkdir()
        for package in root_packages(lock, "cloud"):
            shutil.copyfile(stages.store.path(package.sha256), folder / "debs" / package.sha256)
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        process = multiprocessing.get_context("fork").Process(target=_as_nobody, args=(folder, recipe, lock, tools))
        process.start()
        process.join()
        assert process.exitcode == 0
        entries, digest = pickle.loads((folder / "result").read_bytes())
        assert not set(entries) ^ set(tree.entries)
        assert digest == expected
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    assert {node.uid for node in tree.entries} > {0}
    assert {node.mode for node in tree.entries} > {0o755, 0o644, 0o640, 0o777}
