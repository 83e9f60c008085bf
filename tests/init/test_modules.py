"""Which modules a device needs: the matcher against fnmatch, the closure against its rules."""

from __future__ import annotations

import fnmatch
import re

from fakes.system import FakeSystem
from hypothesis import given
from hypothesis import strategies as st

from init.pid1.devices import Devices
from init.pid1.modules import ModuleIndex, canonical, longest_piece, matches

ALPHABET = "ab:1-"
PIECES = st.lists(st.sampled_from([*ALPHABET, "*", "?", "[ab]", "[a-c1]", "[0-9]"]), max_size=8)
TABLES = {
    "modules.dep": "kernel/a/top.ko.xz: kernel/a/mid-one.ko.xz kernel/a/low.ko.xz\n"
    "kernel/a/mid-one.ko.xz: kernel/a/low.ko.xz\nkernel/a/low.ko.xz:\nkernel/crypto/crc32c-intel.ko:\n",
    "modules.alias": "# Aliases\nalias pci:v00008086d000010D3sv*sd*bc*sc*i* top\n"
    "alias pci:v*d*sv*sd*bc02sc00i* mid_one\n"
    "alias fs-low low\nalias crypto-crc32c crc32c_intel\nalias pci:v1 gone\n",
    "modules.softdep": "softdep top pre: crypto-crc32c post: low\n",
}
INDEX = ModuleIndex("/usr/lib/modules/1", TABLES)


@given(PIECES, st.text(ALPHABET + "c5", max_size=10))
def test_the_matcher_agrees_with_fnmatch(pieces: list[str], text: str) -> None:
    pattern = "".join(pieces)
    assert matches(pattern, text) == fnmatch.fnmatchcase(text, pattern)


@given(st.lists(st.sampled_from([*ALPHABET, "*", "?", "[ab]", "[]b]", "[", "]"]), max_size=8))
def test_the_longest_piece_lies_between_wildcards(pieces: list[str]) -> None:
    pattern = "".join(pieces)
    assert longest_piece(pattern) == max(re.split(r"[*?]|\[[^]]*\]", pattern), key=len)


def test_a_pattern_matches_what_it_was_made_from() -> None:
    assert matches("virtio:d00000002v*", "virtio:d00000002v00001AF4")
    assert not matches("virtio:d00000002v*", "virtio:d00000001v00001AF4")
    assert matches("usb:v*p*d*dc*dsc*dp*ic08isc06ip50in*", "usb:v46F4p0001d0000dc00dsc00dp00ic08isc06ip50in00")


def test_every_pattern_that_fits_is_found_whatever_its_first_wildcard() -> None:
    assert set(INDEX.wanted("pci:v00008086d000010D3sv0000sd0000bc02sc00i00")) == {"top", "mid_one"}
    assert INDEX.wanted("fs-low") == ("low",)
    assert INDEX.wanted("mid-one") == ("mid_one",)
    assert INDEX.wanted("pci:v1") == (), "an alias of a module that isn't there"


@given(st.lists(st.text("ab*?", min_size=1, max_size=30), max_size=6), st.text("ab", max_size=40))
def test_the_buckets_find_what_a_plain_search_finds(patterns: list[str], text: str) -> None:
    dep = "".join(f"kernel/m{n}.ko:\n" for n in range(len(patterns)))
    alias = "".join(f"alias {pattern} m{n}\n" for n, pattern in enumerate(patterns))
    index = ModuleIndex("/m", {"modules.dep": dep, "modules.alias": alias})
    expected = {f"m{n}" for n, pattern in enumerate(patterns) if fnmatch.fnmatchcase(text, pattern)}
    assert set(index.wanted(text)) == expected


def test_dependencies_come_first_and_soft_ones_before_them() -> None:
    assert [canonical(path) for path in INDEX.closure("top")] == ["crc32c_intel", "low", "mid_one", "top"]
    assert INDEX.closure("low") == ("/usr/lib/modules/1/kernel/a/low.ko.xz",)
    assert INDEX.closure("nothing") == ()


def test_a_circle_of_soft_dependencies_ends() -> None:
    tables = {"modules.dep": "k/a.ko:\nk/b.ko:\n", "modules.softdep": "softdep a pre: b\nsoftdep b pre: a\n"}
    assert [canonical(path) for path in ModuleIndex("/m", tables).closure("a")] == ["b", "a"]


def test_what_a_server_has_no_use_for_is_loaded_by_name_alone() -> None:
    tables = {
        "modules.dep": "k/floppy.ko:\nk/vendor.ko:\n",
        "modules.alias": "alias acpi*:PNP0700:* floppy\nalias pci:v1* vendor\n",
        "modprobe.d": "# settings\nblacklist vendor\noptions vendor a=1\noptions vendor b=2\ninstall x /bin/true\n",
    }
    index = ModuleIndex("/m", tables)
    assert index.for_device("acpi:PNP0700:") == ()
    assert index.for_device("pci:v1d2") == ()
    assert index.wanted("floppy") == ("floppy",)
    assert index.parameters == {"vendor": "a=1 b=2"}


class Loader:
    """Only what `Devices` needs to load a module."""

    def __init__(self, refused: str = "") -> None:
        self.loaded: list[str] = []
        self.refused = refused

    def load_module(self, path: str, parameters: str = "") -> None:
        self.loaded.append(canonical(path))
        if canonical(path) == self.refused:
            raise OSError(19, "No such device")


def test_no_module_is_loaded_twice_and_a_refusal_is_noted_once() -> None:
    loader = Loader(refused="mid_one")
    devices = Devices(INDEX)
    assert not devices.load(loader, "top")  # type: ignore[arg-type]
    devices.load(loader, "top")  # type: ignore[arg-type]
    assert loader.loaded == ["crc32c_intel", "low", "mid_one", "top"]
    assert devices.problems == ["module mid_one: No such device"]
    assert devices.loaded == ["crc32c_intel", "low", "top"]


def test_a_card_of_the_mmc_bus_has_its_driver_though_no_file_names_it() -> None:
    system = FakeSystem()
    system.tree.fill({"/sys/bus/mmc/devices/mmc0:aaaa/type": b"SD\n", "/sys/bus/pci/devices/0000:00:00.0/class": b"0"})
    assert Devices(INDEX).present(system) == ["mmc:block"]
