"""Reading packages: honest ones in every form, and every kind of dishonest one."""

import hashlib
import lzma

import pytest
from fakes import debs
from fakes.debs import Item, file, folder, hard, link
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builder.errors import BerthError, BuildError
from builder.fetch.store import Store
from builder.rootfs import kept
from builder.rootfs.archive import Bounds
from builder.rootfs.deb import read_deb
from builder.rootfs.entry import Kind


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz", ".zst"])
def test_every_compression_gives_the_same_entries(store, suffix):
    items = [folder("./usr/"), folder("./usr/bin/"), file("./usr/bin/x", b"#!/bin/sh\n" * 70000, 0o4755)]
    found = debs.package(
        store, "a", *items, link("./usr/bin/y", "x"), hard("./usr/bin/z", "./usr/bin/x"), suffix=suffix
    )
    by_path = {node.path: node for node in found.entries}
    program = by_path["usr/bin/x"]
    assert (program.kind, program.mode, program.size, program.origin) == (Kind.FILE, 0o4755, 700000, "a")
    assert store.read(program.sha256) == b"#!/bin/sh\n" * 70000
    assert by_path["usr/bin/y"].target == "x"
    assert (by_path["usr/bin/z"].kind, by_path["usr/bin/z"].target) == (Kind.HARDLINK, "usr/bin/x")
    assert by_path[""].kind is Kind.DIRECTORY
    assert found.names[:2] == ("/.", "/usr")


def test_control_fields_and_scripts(store):
    found = debs.package(store, "a", scripts={"postinst": "#!/bin/sh\n", "triggers": "activate x\n"}, Multi_Arch="same")
    assert found.control["Multi-Arch"] == "same"
    assert found.control["Description"] == "a package\n of a test"
    assert found.version == "1.0"
    assert set(found.control_files) == {"postinst", "triggers"}


def test_paths_through_merged_links_lie_below_usr(store):
    found = debs.package(store, "a", folder("./lib/"), file("./lib/x"), hard("./sbin/y", "./lib/x"), file("./boot/k"))
    assert [node.path for node in found.entries] == ["", "usr/lib", "usr/lib/x", "usr/sbin/y", "boot/k"]
    assert found.entries[3].target == "usr/lib/x"
    assert found.names == ("/.", "/lib", "/lib/x", "/sbin/y", "/boot/k")


def test_long_names_of_gnu_and_prefixes_of_ustar(store):
    long = "./" + "/".join(["d" * 60] * 4)
    item = Item(name="end", data=b"1", magic=b"ustar\x0000", prefix=b"./" + b"p" * 90)
    found = debs.package(store, "a", file(long, b"x"), link("./l", "t" * 300), item)
    assert [node.path for node in found.entries[1:]] == [long[2:], "l", "p" * 90 + "/end"]
    assert found.entries[2].target == "t" * 300


HOSTILE = {
    "absolute name": ([Item(name="/etc/passwd")], "absolute name"),
    "dots in front": ([file("../etc/passwd")], "leads out of the tree"),
    "dots in the middle": ([file("./usr/../../etc/passwd")], "leads out of the tree"),
    "dots that stay inside": ([file("./usr/../etc/passwd")], "leads out of the tree"),
    "relative link out of the tree": ([link("./usr/x", "../../etc")], "leads out of the tree"),
    "absolute link out of the tree": ([link("./usr/x", "/usr/../../etc")], "leads out of the tree"),
    "file below a link": ([link("./x", "/etc"), file("./x/passwd")], "below"),
    "file below a file": ([file("./x"), file("./x/y")], "below"),
    "hard link out of the tree": ([hard("./x", "../../etc/shadow")], "leads out of the tree"),
    "hard link to an absolute name": ([hard("./x", "/etc/shadow")], "absolute name"),
    "hard link to what is not there": ([hard("./x", "./etc/shadow")], "no file before it"),
    "hard link to a folder": ([folder("./d/"), hard("./x", "./d")], "no file before it"),
    "hard link to a link": ([link("./l", "/etc/shadow"), hard("./x", "./l")], "no file before it"),
    "character device": ([Item(name="./dev/mem", kind=b"3")], "device node"),
    "block device": ([Item(name="./dev/sda", kind=b"4")], "device node"),
    "unknown type": ([Item(name="./x", kind=b"S")], "tar type"),
    "pax header": ([Item(name="./x", kind=b"x", data=b"19 path=/etc/shadow\n")], "tar type"),
    "the same file twice": ([file("./x", b"1"), file("./x", b"2")], "twice"),
    "a folder over a file": ([file("./x", b"1"), folder("./x/")], "twice"),
    "a name that is not UTF-8": ([Item(name=b"./\xff")], "not UTF-8"),
    "a name with a newline": ([file("./a\nb")], "control character"),
    "a target with a NUL in a long name": (
        [Item(name="./x", kind=b"2", target=b"a" * 120 + b"\0b")],
        "control character",
    ),
    "an empty link": ([link("./x", "")], "no target"),
    "a name too long": ([file("./" + "n" * 300)], "too long"),
    "a path too long": ([file("./" + "/".join(["n" * 200] * 30))], "name of"),
    "a size that is not there": ([Item(name="./x", size=1 << 30)], "cut off"),
    "a size below zero": ([Item(name="./x", size=0, data=b"", checksum=1)], "checksum"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_members_are_refused(store, name):
    items, reason = HOSTILE[name]
    with pytest.raises(BuildError, match=reason) as caught:
        debs.package(store, "evil", folder("./usr/"), *items)
    assert "evil" in caught.value.message
    assert caught.value.hint


def test_links_that_stay_inside_are_fine(store):
    found = debs.package(
        store, "a", link("./usr/lib/x", "../../etc/x"), link("./y", "/etc/alternatives/y"), link("./z", ".")
    )
    assert [node.target for node in found.entries[1:]] == ["../../etc/x", "/etc/alternatives/y", "."]


@pytest.mark.long
def test_a_bomb_ends_before_it_fills_anything(store):
    bomb = lzma.compress(debs.tar(Item(name="./zero", data=bytes(200 << 20))), preset=0)
    assert len(bomb) < 100_000
    with pytest.raises(BuildError, match="decompression bomb"):
        debs.read(store, "bomb", debs.deb("bomb", data=bomb))


@pytest.mark.long
def test_a_bomb_in_the_control_archive(store):
    control = lzma.compress(debs.tar(file("./control", bytes(80 << 20))), preset=0)
    data = debs.ar(("debian-binary", b"2.0\n"), ("control.tar.xz", control), ("data.tar", debs.tar()))
    with pytest.raises(BuildError, match="decompression bomb"):
        debs.read(store, "bomb", data)


def test_too_many_members(store):
    path = store.path(store.put(debs.deb("many", *(file(f"./{number}") for number in range(20)))))
    with pytest.raises(BuildError, match="more than 10 members"):
        read_deb(path, name="many", store=store, bounds=Bounds(entries=10))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "does not begin"),
        (b"<html>404</html>", "does not begin"),
        (b"!<arch>\n", "format 2"),
        (debs.ar(("debian-binary", b"3.0\n")), "format 2"),
        (debs.ar(("debian-binary", b"2.0\n")), "exactly one"),
        (debs.ar(("debian-binary", b"2.0\n"), ("control.tar.lzma", b""), ("data.tar", b"")), "not known here"),
        (debs.deb("other"), "says that it is 'other'"),
        (debs.deb("a", suffix="", data=debs.tar(end=b"")), "end mark"),
    ],
)
def test_what_is_no_package(store, data, reason):
    with pytest.raises(BuildError, match=reason):
        debs.read(store, "a", data)


def test_cut_off_anywhere_is_an_error(store):
    whole = debs.deb("a", folder("./usr/"), file("./usr/x", bytes(range(256)) * 40))
    for length in range(0, len(whole), 7):
        with pytest.raises(BuildError):
            debs.read(store, "a", whole[:length])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    suffix=st.sampled_from(["", ".gz", ".xz", ".zst"]),
    flips=st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(1, 255)), min_size=1, max_size=4),
)
def test_damage_is_an_error_or_harmless_and_never_a_crash(store, suffix, flips):
    data = bytearray(
        debs.deb("a", folder("./usr/"), file("./usr/x", b"text" * 500), link("./usr/l", "x"), suffix=suffix)
    )
    for position, bits in flips:
        data[position % len(data)] ^= bits
    try:
        found = debs.read(store, "a", bytes(data))
    except BerthError:
        return
    assert all(not node.path.startswith("/") and ".." not in node.path.split("/") for node in found.entries)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=3000))
def test_arbitrary_tar_streams_never_crash(store, noise):
    with pytest.raises(BerthError):
        debs.read(store, "a", debs.deb("a", suffix="", data=noise + b"x" * 512))


def test_a_known_package_is_not_opened_again(store, tmp_path):
    path = tmp_path / "a.deb"
    path.write_bytes(debs.deb("a", file("./x", b"1")))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    first = read_deb(path, name="a", store=store, sha256=digest)
    path.unlink()
    assert read_deb(path, name="a", store=store, sha256=digest) == first


def test_a_file_with_another_hash_is_refused(store, tmp_path):
    path = tmp_path / "a.deb"
    path.write_bytes(debs.deb("a", file("./x", b"1")))
    with pytest.raises(BuildError, match="not the one that the lock names"):
        read_deb(path, name="a", store=store, sha256="0" * 64)


@pytest.mark.parametrize("harm", ["shorten", "alter", "blob"])
def test_what_was_kept_and_is_damaged_is_read_anew(store, tmp_path, harm):
    path = tmp_path / "a.deb"
    path.write_bytes(debs.deb("a", file("./x", b"1")))
    first = read_deb(path, name="a", store=store)
    [text] = (tmp_path / "store/kept/unpacked").rglob("*.json")
    if harm == "shorten":
        text.write_bytes(text.read_bytes()[:-10])
    elif harm == "alter":
        text.write_bytes(text.read_bytes().replace(b'"x"', b'"y"'))
    else:
        store.path(first.entries[1].sha256).unlink()
    assert read_deb(path, name="a", store=store) == first
    assert store.read(first.entries[1].sha256) == b"1"


def test_kept_values_are_told_apart():
    assert kept.key_of("ab", "c") != kept.key_of("a", "bc")
