"""An image made from packages of the lock: their files, a few folders every program expects, the recipe's own files.

No maintainer script runs. What nobody reads in a container is left out (`LEFT_OUT`); the copyright texts stay.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace

from builder.errors import BuildError
from builder.images.image import (
    CONFIG_TYPE,
    LAYER_TYPE,
    MANIFEST_TYPE,
    Content,
    Image,
    Layer,
    canonical_json,
    layer_of,
)
from builder.recipe.beside import read_file
from builder.recipe.model import BakedImage, Exclusion, ExtraFile
from builder.rootfs.entry import Entry, Kind
from builder.rootfs.exclude import Saved, path_glob

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LEFT_OUT = (
    Exclusion(
        pattern="/usr/share/doc/**",
        reason="documentation; nobody reads it in a container",
        keep=("/usr/share/doc/**/copyright",),
    ),
    Exclusion(pattern="/usr/share/man/**", reason="manual pages"),
    Exclusion(pattern="/usr/share/info/**", reason="manuals for the program info"),
    Exclusion(pattern="/usr/share/locale/**", reason="translations; a container's programs write to logs"),
    Exclusion(pattern="/usr/share/lintian/**", reason="for Debian's package checker"),
    Exclusion(pattern="/usr/share/initramfs-tools/**", reason="for an initramfs; a container has no kernel of its own"),
    Exclusion(pattern="/usr/share/bash-completion/**", reason="for people who type; a container has no shell's user"),
)
_RULES = tuple((rule, path_glob(rule.pattern), [path_glob(glob) for glob in rule.keep]) for rule in LEFT_OUT)
_MERGED = ("bin", "sbin", "lib", "lib64")
_FOLDERS = (
    ("dev", 0o755), ("etc", 0o755), ("proc", 0o555), ("root", 0o700), ("run", 0o755), ("sys", 0o555),
    ("tmp", 0o1777), ("usr", 0o755), ("usr/bin", 0o755), ("usr/lib", 0o755), ("usr/lib64", 0o755),
    ("usr/sbin", 0o755), ("var", 0o755), ("var/tmp", 0o1777),
)  # fmt: skip
_ACCOUNTS = (
    ("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"),
    ("etc/group", b"root:x:0:\nnogroup:x:65534:\n"),
)


def image_of(
    image: BakedImage,
    packages: Mapping[str, tuple[Entry, ...]],
    content: Content,
    epoch: int,
    architecture: str = "amd64",
) -> Image:
    """Return the image that the recipe describes.

    `packages` are the entries of each package that it names. Raise BuildError where two of them bring the same
    file, or a file of the recipe cannot be read.
    """
    nodes: dict[str, Entry] = {}
    origin = f"image {image.name}"
    for path, mode in _FOLDERS:
        nodes[path] = Entry(path=path, kind=Kind.DIRECTORY, mode=mode, origin=origin)
    for path in _MERGED:
        nodes[path] = Entry(path=path, kind=Kind.SYMLINK, mode=0o777, target=f"usr/{path}", origin=origin)
    for path, data in _ACCOUNTS:
        nodes[path] = _file(path, data, content, origin)
    for name, entries in packages.items():
        _add_package(nodes, name, entries)
    if "usr/bin/busybox" in nodes and "usr/bin/sh" not in nodes:
        nodes["usr/bin/sh"] = Entry(path="usr/bin/sh", kind=Kind.SYMLINK, mode=0o777, target="busybox", origin=origin)
    for extra in image.files:
        _add_extra(nodes, extra, content, origin)
    layer = layer_of(nodes.values(), content, epoch)
    config = _config(image, layer, epoch, architecture)
    return Image(name=image.name, layers=(layer,), config=config, manifest=_manifest(config, layer), created=epoch)


def left_out(image: str, packages: Mapping[str, tuple[Entry, ...]]) -> tuple[Saved, ...]:
    """Say what each rule of LEFT_OUT keeps from an image, the rules that keep nothing from it left out."""
    files = [
        (_rule_of(_merged_usr(entry.path)), entry.size if entry.kind is Kind.FILE else 0)
        for entries in packages.values()
        for entry in entries
        if entry.kind is not Kind.DIRECTORY
    ]
    told = []
    for rule in LEFT_OUT:
        sizes = [size for by, size in files if by is rule]
        if sizes:
            name = f"image {image}: {rule.pattern}"
            told.append(Saved(pattern=name, reason=rule.reason, files=len(sizes), size=sum(sizes)))
    return tuple(told)


def timestamp(epoch: int) -> str:
    """Return RFC 3339 text for seconds since 1970."""
    return datetime.datetime.fromtimestamp(epoch, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _add_package(nodes: dict[str, Entry], name: str, entries: Iterable[Entry]) -> None:
    for entry in entries:
        path = _merged_usr(entry.path)
        if not path or _rule_of(path) is not None:
            continue
        before = nodes.get(path)
        if before is not None and before.kind is Kind.DIRECTORY and entry.kind is Kind.DIRECTORY:
            continue
        if path in _MERGED:
            continue  # base-files' own links, which stand already
        if before is not None and not before.origin.startswith("image "):
            raise BuildError(
                f"the packages {before.origin} and {name} of one image both bring /{path}",
                hint="take one of them out of the image's `packages`",
            )
        target = _merged_usr(entry.target) if entry.kind is Kind.HARDLINK else entry.target
        _add_parents(nodes, path, name)
        nodes[path] = replace(entry, path=path, target=target, origin=name)


def _rule_of(path: str) -> Exclusion | None:
    """Return the rule that leaves a path out; a folder goes with what is in it, and comes back for what stays."""
    for rule, match, keep in _RULES:
        goes = match.fullmatch(f"/{path}") or match.fullmatch(f"/{path}/")
        if goes and not any(glob.fullmatch(f"/{path}") for glob in keep):
            return rule
    return None


def _merged_usr(path: str) -> str:
    head = path.partition("/")[0]
    return f"usr/{path}" if head in _MERGED and "/" in path else path


def _add_parents(nodes: dict[str, Entry], path: str, origin: str) -> None:
    parent = path.rpartition("/")[0]
    while parent and parent not in nodes:
        nodes[parent] = Entry(path=parent, kind=Kind.DIRECTORY, mode=0o755, origin=origin)
        parent = parent.rpartition("/")[0]


def _add_extra(nodes: dict[str, Entry], extra: ExtraFile, content: Content, origin: str) -> None:
    path = _merged_usr(extra.path.strip("/"))
    if extra.source is not None:
        try:
            data = read_file(extra.source)
        except OSError as error:
            raise BuildError(
                f"{extra.source} cannot be read: {error.strerror}", hint="it stands under `files`", place=extra.place
            ) from error
    else:
        data = (extra.content or "").encode()
    _add_parents(nodes, path, origin)
    nodes[path] = replace(_file(path, data, content, origin), mode=extra.mode, uid=extra.uid, gid=extra.gid)


def _file(path: str, data: bytes, content: Content, origin: str) -> Entry:
    return Entry(path=path, kind=Kind.FILE, mode=0o644, size=len(data), sha256=content.put(data), origin=origin)


def _config(image: BakedImage, layer: Layer, epoch: int, architecture: str) -> bytes:
    environment = dict(image.environment)
    environment.setdefault("PATH", PATH)
    run: dict[str, object] = {"Env": [f"{name}={value}" for name, value in environment.items()], "WorkingDir": "/"}
    if image.entrypoint:
        run["Entrypoint"] = list(image.entrypoint)
    if image.command:
        run["Cmd"] = list(image.command)
    return canonical_json(
        {
            "architecture": architecture,
            "os": "linux",
            "created": timestamp(epoch),
            "config": run,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.diff_id}"]},
            "history": [{"created": timestamp(epoch), "created_by": "berth build"}],
        }
    )


def _manifest(config: bytes, layer: Layer) -> bytes:
    return canonical_json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {
                "mediaType": CONFIG_TYPE,
                "digest": f"sha256:{hashlib.sha256(config).hexdigest()}",
                "size": len(config),
            },
            "layers": [{"mediaType": LAYER_TYPE, "digest": f"sha256:{layer.diff_id}", "size": layer.size}],
        }
    )
