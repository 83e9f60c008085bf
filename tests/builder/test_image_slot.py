"""The slot's pure parts: command line, boot image, identity."""

from __future__ import annotations

import io
import random
import tarfile
from uuid import UUID

import pytest

from builder.errors import BuildError, InputError
from builder.image import pvh, slot
from builder.image.erofs import hints, options
from builder.image.verity import Verity
from builder.recipe.model import Compression, HotFiles
from builder.rootfs.entry import Entry, Kind, Tree
from init.formats import blocks, cmdline, envblock

SEALED = Verity(root_hash="ab" * 32, hash_offset=40960)


def test_the_command_line_is_what_pid_1_reads() -> None:
    read = cmdline.parse(slot.command_line(SEALED, ("nosmt",)))
    assert (read.root_hash, read.root_offset) == ("ab" * 32, 40960)
    assert read.parameters["panic"] == "1"
    assert "nosmt" in read.parameters


def test_a_command_line_too_long_is_refused() -> None:
    with pytest.raises(BuildError, match="letters"):
        slot.command_line(SEALED, ("x" * 2000,))
    with pytest.raises(BuildError, match="do not fit"):
        slot.boot_image(b"", b"", "x" * 1020, epoch=0)


def test_the_boot_image_is_a_ustar_archive_with_the_frozen_names() -> None:
    image = slot.boot_image(b"kernel", b"packed", "quiet", epoch=1_700_000_000)
    with tarfile.open(fileobj=io.BytesIO(image)) as archive:
        assert archive.getnames() == ["vmlinuz", "initramfs", "cmdline.env", "sums"]
        assert {member.mtime for member in archive} == {1_700_000_000}
        env = archive.extractfile("cmdline.env").read()
    assert len(image) % 512 == 0
    assert len(env) == 1024
    assert envblock.read(env, ["cmdline"]) == {"cmdline": b"quiet"}


def test_another_release_with_the_same_kernel_and_initramfs_changes_few_pages_of_the_boot_image() -> None:
    """The archive's headers (its time), the command line and the sums."""
    chance = random.Random(0)
    kernel, packed = chance.randbytes(300_000), chance.randbytes(200_001)
    images = [
        slot.boot_image(kernel, packed, f"quiet berth.root={letter * 64},4096", epoch=epoch)
        for letter, epoch in (("a", 1_700_000_000), ("b", 1_700_086_400))
    ]
    before, after = ({block.sha256: block.size for block, _ in blocks.cut([image])} for image in images)
    assert sum(size for name, size in after.items() if name not in before) <= 4 * blocks.PAGE
    assert len(after) > 100


def test_identity_covers_every_field() -> None:
    base = Entry(path="a", kind=Kind.FILE)
    others = [
        Entry(path="b", kind=Kind.FILE),
        Entry(path="a", kind=Kind.FIFO),
        Entry(path="a", kind=Kind.FILE, mode=0o600),
        Entry(path="a", kind=Kind.FILE, uid=1),
        Entry(path="a", kind=Kind.FILE, gid=1),
        Entry(path="a", kind=Kind.FILE, sha256="1"),
        Entry(path="a", kind=Kind.FILE, target="t"),
        Entry(path="a", kind=Kind.FILE, device=(1, 2)),
        Entry(path="a", kind=Kind.FILE, xattrs=(("user.a", b""),)),
    ]
    ids = {slot.identity(Tree((entry,)), "") for entry in [base, *others]}
    assert len(ids) == 1 + len(others)
    assert slot.identity(Tree((base,)), "x") not in ids


def test_a_derived_uuid_is_a_valid_one() -> None:
    value = slot.uuid_of("erofs", b"digest")
    assert value.version == 8
    assert value.variant == "specified in RFC 4122"
    assert value != slot.uuid_of("verity", b"digest")


def test_an_image_larger_than_its_partition_is_refused() -> None:
    slot.fits("root", 10, 10, "")
    with pytest.raises(BuildError, match="the root image is 11 bytes"):
        slot.fits("root", 11, 10, "raise build.root_mib")


def test_kernels_stay_out_of_the_root() -> None:
    tree = Tree((Entry(path="boot", kind=Kind.DIRECTORY), Entry(path="boot/vmlinuz-1", kind=Kind.FILE)))
    assert [entry.path for entry in slot.without_boot(tree).entries] == ["boot"]


def test_mkfs_options_fix_what_would_differ_between_hosts() -> None:
    words = options(Compression(), uuid=UUID(int=1), epoch=7)
    assert {"-T7", "-zzstd,level=12", "-C262144", "--tar=f"} <= set(words)
    assert any(word.startswith("--workers=") for word in words)
    with pytest.raises(BuildError, match="no compression `gzip`"):
        options(Compression(algorithm="gzip"), uuid=UUID(int=1), epoch=7)


def test_hot_files_have_an_algorithm_and_clusters_of_their_own() -> None:
    paths = ("/usr/bin/python3.*", "/usr/bin/b[[]", "/usr/lib/**/libc.so.*")
    hot = (HotFiles(algorithm="zstd", level=6, cluster=65536, paths=paths),)
    lzma, zstd = (Compression(algorithm=name, level=6, hot=hot) for name in ("lzma", "zstd"))
    words = options(lzma, uuid=UUID(int=1), epoch=7)
    assert {"-zlzma,level=6,dictsize=262144:zstd,level=6,dictsize=65536", "-C262144"} <= set(words)
    names = [
        ("usr/bin/python3.13", "usr/bin/python3.13"), ("usr/bin/pythonista", "usr/bin/pythonista"),
        ("usr/bin/b[", "srv/b ["), ("usr/lib/x/libc.so.6", "usr/lib/x/libc.so.6"),
    ]  # fmt: skip
    assert hints(lzma, names).splitlines() == [
        "65536 1 ^./srv/b..$", "65536 1 ^./usr/bin/python3.13$", "65536 1 ^./usr/lib/x/libc.so.6$"
    ]  # fmt: skip
    # One algorithm twice is not packed alike from one run of mkfs.erofs to the next: then the clusters alone differ.
    assert "-zzstd,level=6" in options(zstd, uuid=UUID(int=1), epoch=7)
    assert hints(zstd, names[:1]) == "65536 0 ^./usr/bin/python3.13$\n"
    assert hints(Compression(algorithm="none", hot=hot), names) == ""


def test_the_first_record_that_has_a_file_decides_and_each_algorithm_is_named_once() -> None:
    hot = tuple(
        HotFiles(algorithm=algorithm, level=9, cluster=cluster, paths=paths)
        for algorithm, cluster, paths in (
            ("lz4hc", 65536, ("/z", "/by/name")),
            ("zstd", 8192, ("/b",)),
            ("lzma", 16384, ("/a", "/z", "/by/*")),
            ("zstd", 32768, ("/**",)),
        )
    )
    lzma = Compression(algorithm="lzma", level=9, hot=hot)
    assert "-zlzma,level=9,dictsize=262144:lz4hc,level=9:zstd,level=9,dictsize=32768" in options(
        lzma, uuid=UUID(int=1), epoch=7
    )
    names = [(each, each) for each in ("z", "a", "b", "c", "by/other")]
    linked = [("by/name", "by/other")]  # one file by two names, of which the first record has one
    assert hints(lzma, iter(names + linked)).splitlines() == [
        "16384 0 ^./a$", "8192 2 ^./b$", "65536 1 ^./by/other$", "32768 2 ^./c$", "65536 1 ^./z$"
    ]  # fmt: skip


@pytest.mark.parametrize("data", [b"", b"x" * 1000, bytes(0x202) + b"HdrS" + bytes(1000)])
def test_what_is_no_kernel_is_refused(data: bytes) -> None:
    with pytest.raises(InputError):
        pvh.vmlinux(data)
