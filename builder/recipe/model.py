"""A recipe: what to build (`build`) and how the machine is configured when nobody says otherwise (`machine`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.errors import Place


@dataclass(frozen=True, kw_only=True, slots=True)
class PackageRequest:
    """A package that the recipe asks for by name, and where it says so."""

    name: str
    place: Place


@dataclass(frozen=True, kw_only=True, slots=True)
class Exclusion:
    """Paths left out. `pattern` is a glob over whole paths (`/usr/share/doc/**`, `**` crosses slashes).

    `keep` are patterns that stay although `pattern` matches. `reason` is what `berth inspect --all` shows.
    """

    pattern: str
    reason: str
    keep: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ModuleCut:
    """Kernel modules left out: a glob over paths below `kernel/` (`sound/**`), and why.

    `kernel` limits the rule to one of KERNELS; "" is for all.
    """

    pattern: str
    reason: str
    keep: tuple[str, ...] = ()
    kernel: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScriptExcuse:
    """A package whose maintainer scripts have nothing to do here. `reason` says why."""

    package: str
    reason: str
    place: Place


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiver:
    """A dependency that the image can do without: `package` depends on `depends` (a name in its group)."""

    package: str
    depends: str
    reason: str
    place: Place


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtraFile:
    """A file that the recipe adds. Exactly one of `content` (text) and `source` (on the user's disk) is given."""

    path: str  # absolute on the machine
    content: str | None
    source: Path | None
    mode: int
    uid: int
    gid: int
    place: Place


@dataclass(frozen=True, kw_only=True, slots=True)
class BakedImage:
    """A container image that is part of the slot: an OCI layout with its digest, or packages and files.

    `name` is what `containers.NAME.image` says.
    """

    name: str
    oci: Path | None
    digest: str | None
    packages: tuple[PackageRequest, ...]
    files: tuple[ExtraFile, ...]
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    place: Place


@dataclass(frozen=True, kw_only=True, slots=True)
class Compression:
    """How EROFS compresses: `lz4hc`, `zstd`, `lzma` or `none`; the cluster size is in bytes."""

    algorithm: str = "zstd"
    level: int = 12
    cluster: int = 262144
    hot: tuple[HotFiles, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class HotFiles:
    """Files that are read at each start, and how they are compressed instead: faster to unpack, in smaller clusters.

    `paths` are globs over whole paths of the root, braces already expanded. The first of an image's `HotFiles` that
    has a file decides; those of one algorithm, `Compression`'s among them, have one level.
    """

    algorithm: str
    level: int
    cluster: int
    paths: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Build:
    """The `build` half."""

    version: str | None
    machine_class: str | None
    suite: str
    architecture: str
    kernel: str  # `full`, `cloud` or `none`
    engine: str  # `none`, `crun`, `podman` or `docker`
    packages: tuple[PackageRequest, ...]
    images: tuple[BakedImage, ...]
    files: tuple[ExtraFile, ...]
    exclude: tuple[Exclusion, ...]
    modules: tuple[ModuleCut, ...]
    module_signatures: str  # `keep`, or `cut`: modules of the root lie there unsigned and uncompressed
    compression: Compression
    scripts: tuple[ScriptExcuse, ...]
    waive: tuple[Waiver, ...]
    budget: int | None  # most bytes of the ISO, None without a bound
    root_mib: int  # size of a root slot
    cmdline: tuple[str, ...]  # added to the kernel's command line
    update_root: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """A whole recipe, `extends` and `--set` already applied.

    `given` is the name or path by which the user asked for it ("" where nobody did), `sets` are the words of `--set`.
    `machine` is the machine half as plain YAML values (maps, lists, text, numbers): `init.dialects` compiles it.
    """

    name: str
    path: Path
    build: Build
    machine: Mapping[str, Any]
    machine_place: Place
    suite_place: Place
    given: str = ""
    sets: tuple[str, ...] = ()
    machine_node: Any = None  # the same half as a tree that knows its places, for the compiler's diagnostics
