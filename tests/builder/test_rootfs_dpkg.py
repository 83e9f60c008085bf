"""What unpacking and stages give, compared file by file with what dpkg installs with every script.

The same packages (`reference/reference.yaml`) are installed twice: by dpkg in a throw-away root that begins
empty, and by the builder.
Each difference of path, kind, owner, mode, target or content is explained by a row below, and no row is idle.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import shlex
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fakes.rooted import as_root

from builder.cli.context import Context
from builder.cli.inputs import Network, ready_lock, ready_tools
from builder.lock.model import Lock
from builder.progress import SilentProgress
from builder.recipe import load
from builder.rootfs.entry import Entry, Kind, Tree
from builder.rootfs.tarstream import write_tar
from builder.rootfs.unpack import Unpacked, build_tree
from builder.stages import StageContext, run_stages
from init.formats.release import Release

pytestmark = pytest.mark.packages

REFERENCE = Path(__file__).parent / "reference"
ROOT = REFERENCE.parent.parent.parent


@dataclass(frozen=True)
class Node:
    """What is compared of one path."""

    kind: str
    mode: int
    uid: int
    gid: int
    what: str  # a file's hash, a link's target


# path (glob, `*` crosses slashes); which of `dpkg`, `berth` has it, or where both do, all that may differ of it (a
# link's `target`, a file's `content`, other facts by their names); why
EXPLAINED = [
    # accounts
    ("etc/passwd", "content", "daemons have ids that never move, and accounts that no daemon uses are left out"),
    ("etc/group", "content", "the same"),
    ("etc/shadow", "content", "the same; the day is the lock's, and the fields are `*`"),
    ("etc/gshadow", "content", "the same"),
    ("etc/*-", "dpkg", "copies that useradd keeps of the files before"),
    ("etc/.pwd.lock", "dpkg", "useradd's lock"),
    ("run/adduser", "dpkg", "adduser's lock"),
    ("usr/bin/ssh-agent", "gid", "its group has an id that never moves"),
    ("var/lib/chrony", "uid", "its user has an id that never moves"),
    ("var/log/chrony", "berth", "dpkg only notes the owner of a folder that is not there yet"),
    ("etc/shells", "content", "update-shells adds the shells of /usr/bin and keeps a list of its own"),
    ("var/lib/shells.state", "dpkg", "that list"),
    # alternatives
    ("etc/alternatives/*", "dpkg", "links go straight to the program: nobody chooses later"),
    ("usr/bin/*", "target", "the same (awk, mt, nawk, pager, which)"),
    ("usr/sbin/*", "target", "the same (iptables and its family, rmt)"),
    ("usr/share/man/*", "dpkg", "manual pages of alternatives"),
    ("usr/bin/fakeroot", "dpkg", "chosen by a script that reference.yaml excuses"),
    # authorities
    (
        "etc/ssl/certs/ca-certificates.crt",
        "kind mode",
        "a link to the bundle below /usr: /etc is in memory",
    ),
    ("usr/share/ca-certificates/ca-certificates.crt", "berth", "that bundle"),
    ("etc/ssl/certs/*", "dpkg", "links by name and by hash, which nothing needs beside the bundle"),
    ("etc/ca-certificates.conf", "dpkg", "which authorities are chosen: all"),
    # Python
    ("usr/lib/python3*.py", "dpkg", "byte code stands in place of its source"),
    ("usr/lib/python3*.pyc", "berth", "the same"),
    ("*/__pycache__", "dpkg", "byte code beside its source"),
    ("*/__pycache__/*", "dpkg", "the same"),
    ("var/lib/python", "dpkg", "remembers which Python was configured"),
    ("var/lib/python/*", "dpkg", "the same"),
    # what programs that are not on the machine would read
    ("etc/rc[0-9S].d*", "dpkg", "links for sysvinit"),
    ("etc/systemd/*", "dpkg", "links of enabled units"),
    ("var/lib/systemd/*", "dpkg", "what deb-systemd-helper enabled"),
    ("etc/apparmor.d/local", "dpkg", "additions to a profile that nobody loads"),
    ("etc/apparmor.d/local/*", "dpkg", "the same"),
    ("etc/pam.d/common-*", "dpkg", "pam-auth-update's; sshd runs without PAM"),
    ("var/lib/pam*", "dpkg", "the same"),
    ("etc/environment", "dpkg", "read by PAM, and empty"),
    ("etc/hosts.*", "dpkg", "comments alone"),
    ("etc/modules", "dpkg", "comments alone"),
    ("var/cache/debconf/*", "dpkg", "debconf's answers"),
    ("var/lib/ucf*", "dpkg", "what ucf copied"),
    ("var/cache/ldconfig*", "dpkg", "ldconfig's memory"),
    ("usr/share/info/dir", "dpkg", "an index of manuals"),
    ("var/log/*", "dpkg", "logs of the installation, and of log-ins"),
    ("usr/sbin/policy-rc.d", "dpkg", "this test's own: starts no service"),
    # the shape of the machine
    ("etc/ld.so.cache", "content", "compared below: paths begin with /usr/lib"),
    ("etc/mtab", "berth", "no systemd makes it at boot"),
    ("etc/opt", "dpkg", "empty"),
    ("var/opt", "dpkg", "empty"),
    ("var/mail", "dpkg", "no mail on the machine"),
    ("var/spool/mail", "dpkg", "the same"),
    ("usr/local/*", "dpkg", "belongs to state"),
    ("run/lock", "dpkg", "made at boot"),
    ("etc/ssh/ssh_host_*", "dpkg", "each machine makes its own keys"),
    ("usr/lib/os-release", "content", "Berth's own"),
    # Berth
    ("usr/lib/berth*", "berth", "Berth itself, and dpkg's database"),
    ("usr/bin/berthctl", "berth", "the same"),
    ("usr/bin/*", "berth", "busybox's applets that no package brings"),
    ("usr/sbin/*", "berth", "the same"),
    ("var/lib/dpkg", "kind mode", "a link to the database below /usr"),
]


@dataclass(frozen=True)
class Reference:
    """The lock of the packages, and what the builder made of them."""

    lock: Lock
    context: StageContext
    unpacked: Unpacked
    tree: Tree


@pytest.fixture(scope="module")
def reference() -> Reference:
    before = Path.cwd()
    os.chdir(ROOT)  # a build keeps its tools tree below the working folder
    try:
        context = Context.create(quiet=True, as_json=False)
        network = Network(heal=True)
        tools = ready_tools(context, network)
        recipe = load(str(REFERENCE / "reference.yaml"))
        lock = ready_lock(recipe, tools, context, network)
    finally:
        os.chdir(before)
    release = Release(
        name="reference", version="1", machine_class="reference-amd64", engine="none", kernel="", epoch=lock.epoch
    )
    stages = StageContext(
        recipe=recipe, lock=lock, store=context.store, tools=tools, release=release, kernel_version=""
    )
    unpacked = build_tree(lock, recipe, context.store, SilentProgress())
    tree, _ = run_stages(unpacked, stages)
    return Reference(lock=lock, context=stages, unpacked=unpacked, tree=tree)


def as_installed(tree: Tree) -> dict[str, Node]:
    """Return the builder's tree with the factory's copies where they lie on a running machine."""
    found: dict[str, Node] = {}
    by_path = tree.by_path()
    for node in tree.entries:
        path = node.path.removeprefix("usr/share/factory/")
        if path != "usr/share/factory" and (path == node.path or path not in found or node.kind is not Kind.DIRECTORY):
            found[path] = _node(node, by_path)
    for node in tree.entries:  # a folder of the factory says more than the empty place to mount on
        if node.path.startswith("usr/share/factory/"):
            found[node.path.removeprefix("usr/share/factory/")] = _node(node, by_path)
    return found


def _node(node: Entry, by_path: dict[str, Entry]) -> Node:
    if node.kind is Kind.HARDLINK:
        node = by_path[node.target]
    what = node.sha256 if node.kind is Kind.FILE else node.target
    return Node(kind=node.kind.value, mode=node.mode, uid=node.uid, gid=node.gid, what=what)


# Namespaces of its own: nothing that a script might start outlives the test, reaches a network, or is asked by others.
APART = ("--mount", "--net", "--pid", "--ipc", "--fork", "--kill-child")
PRELOAD = "usr/lib/x86_64-linux-gnu/libfakeroot/libfakeroot-sysv.so"
FAKED = "usr/bin/faked-sysv"


def steps(folder: Path, reference: Reference) -> str:
    """Return a script that installs all of `debs` into a root that begins empty, and packs the result as `end.tar`.

    dpkg needs a few packages to run from. Debian's own dpkg-deb puts them there: it runs in another root, unpacked
    from `start.tar`, which is the builder's tree and of which nothing else is used.

    An ordinary user has no second id to give a file to. Debian's fakeroot remembers who should own what, also for
    programs in the chroot, and its daemon ends with the namespaces.
    """
    root, tools = folder / "root", reference.context.tools
    outside, inside, ready = "", "", ":"
    if os.geteuid() != 0:
        stored = {
            path: str(reference.context.store.path(reference.unpacked.find(path).sha256)) for path in (PRELOAD, FAKED)
        }
        daemon = shlex.join([*tools.argv("tar")[:-1], stored[FAKED]])  # the loader takes any program
        ready = f"key=$({daemon}); key=${{key%%:*}}"
        told = "FAKEROOTDONTTRYCHOWN=1 FAKEROOTKEY=$key"
        outside, inside = f"env {told} LD_PRELOAD={stored[PRELOAD]}", f"env {told} LD_PRELOAD=/{PRELOAD}"
    tar = shlex.join(tools.argv("tar", "--numeric-owner", "--preserve-permissions"))
    helper = folder / "helper"
    return f"""set -e
        {ready}
        {outside} {tar} -C {helper} -xf {folder}/start.tar
        chmod 755 {helper}; mkdir {helper}/debs {helper}/new
        mount --bind {folder}/debs {helper}/debs; mount --bind {root} {helper}/new
        chroot {helper} {inside} /bin/sh /debs/begin.sh
        umount {helper}/new {helper}/debs
        mkdir {root}/debs; mount --bind {folder}/debs {root}/debs; mount -t proc proc {root}/proc
        mknod -m 666 {root}/dev/null c 1 3 || {{ : > {root}/dev/null; mount --bind /dev/null {root}/dev/null; }}
        chroot {root} {inside} /bin/sh /debs/install.sh
        umount {root}/proc {root}/debs
        {outside} {tar} -C {root} -cf {folder}/end.tar .
    """


@pytest.fixture(scope="module")
def installed(reference: Reference, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install with dpkg and return what is there afterwards, as a tar file."""
    folder = tmp_path_factory.mktemp("dpkg")
    store = reference.context.store
    for name in ("root", "helper", "debs"):
        (folder / name).mkdir()
    with (folder / "start.tar").open("wb") as stream:
        write_tar(reference.unpacked.whole, store, stream, 0)
    for package in reference.lock.packages:
        shutil.copyfile(store.path(package.sha256), folder / "debs" / f"{package.name}.deb")
    for script in ("begin.sh", "install.sh"):
        shutil.copyfile(REFERENCE / script, folder / "debs" / script)
    done = subprocess.run(
        [*as_root(*APART), "/bin/sh", "-c", steps(folder, reference)], capture_output=True, text=True, check=False,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return folder / "end.tar"


def _members(path: Path) -> Iterator[tuple[str, Node]]:
    kinds = {tarfile.DIRTYPE: "dir", tarfile.SYMTYPE: "link", tarfile.CHRTYPE: "char", tarfile.FIFOTYPE: "fifo"}
    files: dict[str, Node] = {}
    with tarfile.open(path) as archive:
        for member in archive:
            name = member.name.removeprefix("./").removeprefix(".")
            if name.startswith(("debs", "proc/", "dev/", "var/lib/dpkg/")):
                continue
            if member.islnk():
                yield name, files[member.linkname.removeprefix("./")]
                continue
            what = member.linkname if member.issym() else ""
            if member.isreg():
                content = archive.extractfile(member)
                assert content is not None
                what = hashlib.sha256(content.read()).hexdigest()
            mode = 0o777 if member.issym() else member.mode
            files[name] = Node(
                kind=kinds.get(member.type, "file"), mode=mode, uid=member.uid, gid=member.gid, what=what
            )
            yield name, files[name]


def differences(dpkg: dict[str, Node], berth: dict[str, Node]) -> list[tuple[str, str, str]]:
    """Return (path, who has it or which facts differ, both nodes), sorted."""
    found = []
    for path in sorted(dpkg.keys() | berth.keys()):
        one, two = dpkg.get(path), berth.get(path)
        if one is None or two is None:
            found.append((path, "berth" if one is None else "dpkg", str(one or two)))
        elif one != two:
            found.append((path, " ".join(_differing(one, two)), f"{one} became {two}"))
    return found


def _differing(one: Node, two: Node) -> list[str]:
    facts = [fact for fact in ("kind", "mode", "uid", "gid") if getattr(one, fact) != getattr(two, fact)]
    if one.kind == two.kind and one.what != two.what:
        facts.append("target" if one.kind == "link" else "content")
    return facts


def test_every_difference_to_dpkg_is_explained(reference, installed):
    ours = as_installed(reference.tree)
    found = differences(dict(_members(installed)), ours)
    used = set()
    unexplained = []
    for path, who, what in found:
        rows = [row for row in EXPLAINED if row[1] == who and fnmatch.fnmatchcase(path, row[0])]
        used.update(rows[:1])
        if not rows:
            unexplained.append(f"{who}: /{path}: {what}")
    assert not unexplained, "\n" + "\n".join(unexplained[:200])
    assert not [row for row in EXPLAINED if row not in used], "rows that explain nothing"
    more = {path: ours[path] for path, who, _ in found if who == "berth"}
    assert not [path for path, node in more.items() if node.mode & 0o6000 and node.kind != "link"]
    programs = {path: node for path, node in more.items() if fnmatch.fnmatchcase(path, "usr/*bin/*")}
    own = {path for path, node in programs.items() if not node.what.endswith(("busybox", "lib/berth/habit"))}
    assert own <= {"usr/bin/berthctl", "usr/bin/vi"}


def test_names_of_one_file_are_names_of_one_file(reference, installed):
    theirs: dict[str, set[str]] = {}
    with tarfile.open(installed) as archive:
        for member in archive:
            if member.islnk():
                first = member.linkname.removeprefix("./")
                theirs.setdefault(first, {first}).add(member.name.removeprefix("./"))
    ours: dict[str, set[str]] = {}
    for node in reference.tree.entries:  # equal copyright texts are one file here: stage `copyrights`
        if node.kind is Kind.HARDLINK and not node.path.endswith("/copyright"):
            ours.setdefault(node.target, {node.target}).add(node.path)
    there = reference.tree.by_path()
    kept = [names for names in theirs.values() if all(name in there for name in names)]
    assert kept
    assert sorted(map(sorted, kept)) == sorted(map(sorted, ours.values()))


def content(installed: Path, path: str) -> bytes:
    with tarfile.open(installed) as archive:
        stream = archive.extractfile(f"./{path}")
        assert stream is not None
        return stream.read()


def test_the_bundle_of_authorities_is_the_same_to_the_byte(reference, installed):
    bundle = reference.tree.by_path()["usr/share/ca-certificates/ca-certificates.crt"]
    assert reference.context.store.read(bundle.sha256) == content(installed, "etc/ssl/certs/ca-certificates.crt")


def libraries(cache: bytes) -> dict[str, str]:
    """Return name and path of each library in a cache of the dynamic linker."""
    count = int.from_bytes(cache[20:24], "little")
    found = {}
    for number in range(count):
        key, value = (int.from_bytes(cache[at : at + 4], "little") for at in (52 + 24 * number, 56 + 24 * number))
        name, path = (cache[at : cache.index(b"\0", at)].decode() for at in (key, value))
        found[name] = path if path.startswith("/usr") else f"/usr{path}"
    return found


def test_the_linkers_cache_has_the_same_libraries_as_ldconfigs(reference, installed):
    ours = reference.tree.by_path()["usr/share/factory/etc/ld.so.cache"]
    assert libraries(reference.context.store.read(ours.sha256)) == libraries(content(installed, "etc/ld.so.cache"))


def paragraphs(status: str) -> dict[str, dict[str, str]]:
    found = {}
    for text in status.strip().split("\n\n"):
        fields: dict[str, str] = {}
        last = ""
        for line in text.split("\n"):
            if line.startswith(" "):
                fields[last] += "\n" + line
            else:
                last, _, value = line.partition(":")
                fields[last] = value.strip()
        # dpkg also notes files that an upgrade would remove and that are not there
        rows = [row for row in fields.get("Conffiles", "").split("\n") if not row.endswith(" remove-on-upgrade")]
        fields["Conffiles"] = "\n".join(sorted(rows))
        found[fields["Package"]] = fields
    return found


def test_dpkgs_database_says_the_same(reference, installed):
    ours = reference.tree.by_path()["usr/lib/berth/dpkg/status"]
    one = paragraphs(reference.context.store.read(ours.sha256).decode())
    two = paragraphs(content(installed, "var/lib/dpkg/status").decode())
    assert one.keys() == two.keys()
    for name, fields in two.items():
        assert one[name] == fields, name


@pytest.mark.parametrize("kind", ["passwd", "group"])
def test_static_ids_are_debians(reference, kind):
    master = reference.unpacked.find(f"usr/share/base-passwd/{kind}.master")
    debian = {line.split(":")[0]: line.split(":")[2] for line in text(reference, master.sha256).splitlines() if line}
    ours = reference.tree.by_path()[f"usr/share/factory/etc/{kind}"]
    for line in text(reference, ours.sha256).splitlines():
        name, _, number = line.split(":")[:3]
        if name in debian:
            assert number == debian[name]
        else:
            assert 100 < int(number) < 1000
            assert number not in debian.values()


def text(reference: Reference, sha256: str) -> str:
    return reference.context.store.read(sha256).decode()
