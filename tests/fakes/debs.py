"""Makes .debs by hand, honest ones and others: every field of every header can be said."""

from __future__ import annotations

import gzip
import lzma
import sys
from dataclasses import dataclass
from pathlib import Path

from builder.errors import Place
from builder.fetch.store import Store
from builder.lock.model import Lock, LockedPackage, LockedPart
from builder.recipe.model import Build, Compression, PackageRequest, Recipe
from builder.rootfs.deb import Deb, read_deb

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PLACE = Place(file="recipe.yaml", line=1, column=1)


@dataclass(frozen=True, kw_only=True)
class Item:
    """One member of a tar stream. `kind` is the type byte of the header."""

    name: str | bytes
    data: bytes = b""
    kind: bytes = b"0"
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    target: str | bytes = ""
    size: int | None = None  # what the header claims, where that is not the truth
    checksum: int | None = None
    magic: bytes = b"ustar  \0"
    prefix: bytes = b""


def file(name: str, data: bytes = b"", mode: int = 0o644, **more: int) -> Item:
    return Item(name=name, data=data, mode=mode, **more)


def folder(name: str, mode: int = 0o755, **more: int) -> Item:
    return Item(name=name, kind=b"5", mode=mode, **more)


def link(name: str, target: str) -> Item:
    return Item(name=name, kind=b"2", target=target, mode=0o777)


def hard(name: str, target: str) -> Item:
    return Item(name=name, kind=b"1", target=target)


def tar(*items: Item, end: bytes = bytes(1024)) -> bytes:
    return b"".join(_member(item) for item in items) + end


def _member(item: Item) -> bytes:
    name = item.name if isinstance(item.name, bytes) else item.name.encode()
    target = item.target if isinstance(item.target, bytes) else item.target.encode()
    blocks = b""
    for kind, text in ((b"L", name), (b"K", target)):
        if len(text) > 100:
            body = text + b"\0"
            blocks += _header(Item(name="././@LongLink", kind=kind, data=body), b"././@LongLink", b"")
            blocks += body + bytes(-len(body) % 512)
    blocks += _header(item, name, target)
    return blocks + item.data + bytes(-len(item.data) % 512)


def _header(item: Item, name: bytes, target: bytes) -> bytes:
    size = len(item.data) if item.size is None else item.size
    block = b"".join(
        (
            name[:100].ljust(100, b"\0"),
            b"%07o\0" % item.mode,
            b"%07o\0" % item.uid,
            b"%07o\0" % item.gid,
            b"%011o\0" % size,
            b"%011o\0" % 0,
            b" " * 8,
            item.kind,
            target[:100].ljust(100, b"\0"),
            item.magic,
            bytes(32),
            bytes(32),
            bytes(16),
            item.prefix.ljust(155, b"\0"),
            bytes(12),
        )
    )
    checksum = sum(block) if item.checksum is None else item.checksum
    return block[:148] + b"%06o\0 " % checksum + block[156:]


def compress(data: bytes, suffix: str) -> bytes:
    match suffix:
        case ".xz":
            return lzma.compress(data)
        case ".gz":
            return gzip.compress(data, mtime=0)
        case ".zst":
            return zstd.compress(data)
        case _:
            return data


def ar(*members: tuple[str, bytes]) -> bytes:
    parts = [b"!<arch>\n"]
    for name, data in members:
        header = f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode()
        parts += [header, data, b"\n" if len(data) % 2 else b""]
    return b"".join(parts)


def control(name: str, version: str = "1.0", **fields: str) -> bytes:
    rows = {"Package": name, "Version": version, "Architecture": "amd64", "Description": "a package\n of a test"}
    rows |= {key.replace("_", "-"): value for key, value in fields.items()}
    return "".join(f"{key}: {value}\n" for key, value in rows.items()).encode()


def deb(
    name: str,
    *items: Item,
    version: str = "1.0",
    scripts: dict[str, str] | None = None,
    suffix: str = ".xz",
    data: bytes | None = None,
    **fields: str,
) -> bytes:
    """Return the bytes of a .deb whose data.tar holds `items` (or is `data`)."""
    texts = [file("./control", control(name, version, **fields))]
    texts += [file(f"./{script}", text.encode(), 0o755) for script, text in (scripts or {}).items()]
    return ar(
        ("debian-binary", b"2.0\n"),
        (f"control.tar{suffix}", compress(tar(*texts), suffix)),
        (f"data.tar{suffix}", data if data is not None else compress(tar(folder("./"), *items), suffix)),
    )


def read(store: Store, name: str, data: bytes) -> Deb:
    """Put the bytes into the store and read them as a package."""
    return read_deb(store.path(store.put(data)), name=name, store=store)


def package(store: Store, name: str, *items: Item, **more: object) -> Deb:
    """Make and read an honest package."""
    return read(store, name, deb(name, *items, **more))  # type: ignore[arg-type]


def locked(
    store: Store, name: str, data: bytes, *, version: str = "1.0", parts: tuple[str, ...] = ("root",)
) -> LockedPackage:
    """Put the bytes into the store and return what a lock says of them."""
    return LockedPackage(
        name=name,
        version=version,
        architecture="amd64",
        source=name,
        source_version=version,
        suite="trixie",
        filename=f"pool/{name}.deb",
        size=len(data),
        sha256=store.put(data),
        parts=parts,
    )


def lock(*packages: LockedPackage) -> Lock:
    """Return a lock; its parts are those that the packages name, `root` and both kernels."""
    names = {"root", "kernel-full", "kernel-cloud", *(part for one in packages for part in one.parts)}
    return Lock(
        recipe="test",
        architecture="amd64",
        epoch=1_700_000_000,
        releases=(),
        packages=tuple(sorted(packages, key=lambda one: one.name)),
        parts=tuple(LockedPart(name=name, requests=()) for name in sorted(names)),
    )


def recipe(*packages: str, **build: object) -> Recipe:
    """Return a recipe that asks for packages; `build` replaces fields of its build half."""
    fields: dict[str, object] = {
        "version": None,
        "machine_class": None,
        "suite": "trixie",
        "architecture": "amd64",
        "kernel": "cloud",
        "engine": "none",
        "packages": tuple(PackageRequest(name=name, place=PLACE) for name in packages),
        "images": (),
        "files": (),
        "exclude": (),
        "modules": (),
        "module_signatures": "keep",
        "compression": Compression(),
        "scripts": (),
        "waive": (),
        "budget": None,
        "root_mib": 64,
        "cmdline": (),
        "update_root": None,
    }
    return Recipe(
        name="test",
        path=Path("recipe.yaml"),
        build=Build(**(fields | build)),  # type: ignore[arg-type]
        machine={},
        machine_place=PLACE,
        suite_place=PLACE,
    )
