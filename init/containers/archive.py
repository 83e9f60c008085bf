"""Reads an image from an archive on the machine: an OCI layout in a tar, or what `docker save` writes.

    OCI      oci-layout, index.json, blobs/sha256/HEX
    docker   manifest.json [{Config, RepoTags, Layers: […/layer.tar]}], HEX.json

An archive may hold both (Docker since version 25 writes so): then OCI's is read, whose layers are named by digest.
Either may be compressed as a whole with gzip, xz or bzip2.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zlib
from contextlib import contextmanager

from init.containers import archived
from init.containers.image import ARCHITECTURE, Blob, Found, ImageError
from init.containers.reference import is_digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, BinaryIO

_SMALL = 4 << 20  # bytes of a manifest or a configuration
_UNREADABLE = (
    tarfile.TarError,
    EOFError,
    zlib.error,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RecursionError,
)


@contextmanager
def opened(path: str) -> Iterator[Found]:
    """Give the image in an archive. Its layers can be read as long as the context lasts. Raise ImageError."""
    from lzma import LZMAError  # noqa: PLC0415 - who asks a registry imports this module, too

    try:
        with tarfile.open(path) as archive:
            yield _find(archive)
    except FileNotFoundError as error:
        raise ImageError(archived.gone(path)) from error
    except (*_UNREADABLE, LZMAError) as error:
        raise ImageError(f"the archive {path} cannot be read: {error}") from error


def _find(archive: tarfile.TarFile) -> Found:
    members = {member.name.removeprefix("./"): member for member in archive if member.isreg()}
    if "index.json" in members:
        return _from_layout(archive, members)
    if "manifest.json" in members:
        return _from_docker(archive, members)
    raise ImageError("the archive holds neither an OCI layout nor what `docker save` writes")


def _small(archive: tarfile.TarFile, members: dict[str, tarfile.TarInfo], name: str) -> bytes:
    member = members.get(name)
    stream = archive.extractfile(member) if member is not None else None
    if stream is None:
        raise ImageError(f"the archive lacks {name}")
    data = stream.read(_SMALL + 1)
    if len(data) > _SMALL:
        raise ImageError(f"{name} in the archive is too large")
    return data


def _blob_name(digest: object) -> str:
    if not is_digest(digest):
        raise ImageError(f"`{digest}` is no digest that is known here")
    return f"blobs/sha256/{str(digest).removeprefix('sha256:')}"


def _verified(archive: tarfile.TarFile, members: dict[str, tarfile.TarInfo], digest: str) -> bytes:
    data = _small(archive, members, _blob_name(digest))
    if f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
        raise ImageError(f"{digest} has other content than its name says")
    return data


def _stream(archive: tarfile.TarFile, member: tarfile.TarInfo) -> BinaryIO:
    stream = archive.extractfile(member)
    if stream is None:
        raise ImageError(f"{member.name} in the archive is no file")
    return io.BufferedReader(stream)  # type: ignore[type-var]


def _from_layout(archive: tarfile.TarFile, members: dict[str, tarfile.TarInfo]) -> Found:
    document: Any = json.loads(_small(archive, members, "index.json"))
    digest = ""
    for _ in range(4):
        if "manifests" not in document:
            break
        digest = choose(document["manifests"])
        document = json.loads(_verified(archive, members, digest))
    config = _verified(archive, members, str(document["config"]["digest"]))
    layers = []
    for descriptor in document["layers"]:
        member = members.get(_blob_name(descriptor["digest"]))
        if member is None:
            raise ImageError(f"the archive lacks the layer {descriptor['digest']}")
        layers.append(
            Blob(
                digest=str(descriptor["digest"]),
                size=int(descriptor["size"]),
                open=lambda member=member: _stream(archive, member),  # type: ignore[misc]
            )
        )
    return Found(digest=digest, config=config, layers=tuple(layers))


def _from_docker(archive: tarfile.TarFile, members: dict[str, tarfile.TarInfo]) -> Found:
    images = json.loads(_small(archive, members, "manifest.json"))
    if len(images) != 1:
        raise ImageError(f"the archive holds {len(images)} images, and one was meant")
    config = _small(archive, members, images[0]["Config"])
    layers = []
    for name in images[0]["Layers"]:
        member = members.get(name)
        if member is None:
            raise ImageError(f"the archive lacks the layer {name}")
        # its digest is that of the plain tar, which the configuration names
        layers.append(Blob(digest="", size=None, open=lambda member=member: _stream(archive, member)))  # type: ignore[misc]
    return Found(digest=f"sha256:{hashlib.sha256(config).hexdigest()}", config=config, layers=tuple(layers))


def choose(manifests: Any) -> str:
    """Return the digest of what an index holds for this machine's architecture. Raise ImageError if it has none."""
    there = []
    try:
        for descriptor in manifests:
            platform = descriptor.get("platform") or {}
            name = f"{platform.get('os', 'linux')}/{platform.get('architecture', ARCHITECTURE)}"
            if name == f"linux/{ARCHITECTURE}":
                return str(descriptor["digest"])
            there.append(name)
    except (AttributeError, LookupError, TypeError) as error:
        raise ImageError("its index is of a kind that is not known here") from error
    raise ImageError(f"it is not there for linux/{ARCHITECTURE}, only for {', '.join(there) or 'nothing'}")
