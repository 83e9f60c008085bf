"""Cutting kernel modules: what stays has everything that it needs."""

import lzma
import struct

import pytest
from fakes import debs
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import BuildError
from builder.fetch.store import Store
from builder.progress import SilentProgress
from builder.recipe.model import ModuleCut
from builder.rootfs.entry import Entry, Kind, Tree
from builder.rootfs.modinfo import ModuleNeeds, module_name, read_needs
from builder.rootfs.modulecut import cut_modules
from builder.rootfs.unpack import build_tree

BASE = "usr/lib/modules/6.1/kernel"


def elf(modinfo, *, section=b".modinfo"):
    """A 64-bit ELF file with one section beside the table of names."""
    names = b"\0.shstrtab\0" + section + b"\0"
    body = bytes(64) + names + modinfo
    rows = [
        bytes(64),
        struct.pack("<I20xQQ24x", 1, 64, len(names)),
        struct.pack("<I20xQQ24x", 11, 64 + len(names), len(modinfo)),
    ]
    header = (
        b"\x7fELF\x02\x01".ljust(40, b"\0") + struct.pack("<Q", len(body)) + bytes(10) + struct.pack("<HHH", 64, 3, 1)
    )
    return header + body[64:] + b"".join(rows)


def tree(paths):
    nodes = {}
    for path in paths:
        full = f"{BASE}/{path}"
        nodes[full] = Entry(path=full, kind=Kind.FILE, size=10, sha256=path)
        while full := full.rpartition("/")[0]:
            nodes.setdefault(full, Entry(path=full, kind=Kind.DIRECTORY))
    return Tree(tuple(nodes[path] for path in sorted(nodes)))


def cut(paths, needs, *rules):
    asked = []

    def read(some):
        asked.extend(node.sha256 for node in some)
        return {node.path: ModuleNeeds(depends=needs.get(node.sha256, ())) for node in some}

    result, saved = cut_modules(tree(paths), [ModuleCut(pattern=rule, reason="why") for rule in rules], read)
    left = {node.sha256 for node in result.entries if node.kind is Kind.FILE}
    assert len(asked) == len(set(asked))
    assert set(asked) == left  # and so nothing was unpacked in vain
    return left, result, saved


@pytest.mark.parametrize(("kind", "left"), [("full", {"x.ko"}), ("cloud", {"a.ko", "x.ko"})])
def test_a_rule_for_one_kernel_cuts_nothing_of_another(tmp_path, kind, left):
    store = Store(tmp_path)
    folder = f"./lib/modules/6.1-{kind}/kernel"
    files = [debs.file(f"{folder}/{name}", elf(b"license=GPL\0")) for name in ("sound/a.ko", "drivers/x.ko")]
    image = debs.deb("linux-image", debs.file(f"./boot/vmlinuz-6.1-{kind}", b"k"), *files)
    lock = debs.lock(debs.locked(store, "linux-image", image, parts=(f"kernel-{kind}",)))
    rules = (ModuleCut(pattern="sound/**", reason="why", kernel="full"),)
    found = build_tree(lock, debs.recipe(kernel=kind, modules=rules), store, SilentProgress())
    assert {path.rpartition("/")[2] for path in found.tree.by_path() if path.endswith(".ko")} == left
    assert [rule.files for rule in found.cut] == ([1] if kind == "full" else [])


def test_a_needed_module_stays_with_what_it_needs():
    paths = ["sound/core.ko.xz", "sound/a.ko.xz", "sound/b-c.ko.xz", "drivers/x.ko.xz"]
    left, result, saved = cut(paths, {"drivers/x.ko.xz": ("b_c",), "sound/b-c.ko.xz": ("core",)}, "sound/**")
    assert left == {"sound/core.ko.xz", "sound/b-c.ko.xz", "drivers/x.ko.xz"}
    assert (saved[0].files, saved[0].size) == (1, 10)
    assert f"{BASE}/sound" in result.by_path()


def test_folders_go_with_their_last_module():
    _, result, _ = cut(["sound/usb/a.ko", "net/b.ko"], {}, "sound/**")
    assert f"{BASE}/sound" not in result.by_path()
    assert f"{BASE}/net" in result.by_path()


def test_kept_patterns():
    modules = tree(["sound/a.ko", "sound/b.ko"])
    rule = ModuleCut(pattern="sound/**", reason="why", keep=("sound/b*",))
    result, _ = cut_modules(modules, [rule], lambda some: {node.path: ModuleNeeds() for node in some})
    assert [node.sha256 for node in result.entries if node.kind is Kind.FILE] == ["sound/b.ko"]


@given(
    st.dictionaries(st.integers(0, 12), st.lists(st.integers(0, 12), max_size=3), max_size=13),
    st.sets(st.integers(0, 12)),
)
def test_no_module_lacks_what_it_needs(graph, doomed):
    name = {number: f"{'x' if number in doomed else 'y'}/m{number}.ko" for number in range(13)}
    needs = {name[one]: tuple(f"m{other}" for other in others) for one, others in graph.items()}
    left, _, _ = cut(list(name.values()), needs, "x/**")
    assert {path for path in name.values() if path.startswith("y/")} <= left
    for path in left:
        assert {module_name(other) for other in left} >= set(needs.get(path, ()))


@pytest.mark.parametrize("suffix", [".ko", ".ko.xz"])
def test_needs_are_read_from_the_module(tmp_path, suffix):
    store = Store(tmp_path / "store")
    data = elf(b"license=GPL\0depends=a-b,c\0softdep=pre: d post: e-f\0\0name=x\0")
    sha256 = store.put(lzma.compress(data) if suffix == ".ko.xz" else data)
    node = Entry(path=f"{BASE}/x{suffix}", kind=Kind.FILE, sha256=sha256)
    found = read_needs([node], store)
    assert found == {node.path: ModuleNeeds(depends=("a_b", "c"), softdep=("d", "e_f"))}
    assert read_needs([node], store) == found


@pytest.mark.parametrize(
    "data", [b"", b"text", elf(b"", section=b".other"), elf(b"x")[:-150], lzma.compress(b"x" * 999)[:-5]]
)
def test_a_damaged_module_is_named(tmp_path, data):
    store = Store(tmp_path / "store")
    node = Entry(path=f"{BASE}/x.ko.xz", kind=Kind.FILE, origin="linux", sha256=store.put(lzma.compress(data)))
    with pytest.raises(BuildError, match=r"x\.ko\.xz` of linux is damaged"):
        read_needs([node], store)
