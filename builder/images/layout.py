"""Reads an OCI image layout (a folder or a tar of one) into an Image, everything verified against the recipe's digest.

    oci-layout            {"imageLayoutVersion": "1.0.0"}
    index.json            names the manifests
    blobs/sha256/HEX      manifests, configurations, layers, each by its own SHA-256

The digest in the recipe is a manifest's or an index'; the index.json itself is signed by nobody and only says what
is there. Sizes are compared with what the descriptors state before bytes are used.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from builder.errors import BuildError, InputError, VerificationError
from builder.images.document import Document, read_document
from builder.images.image import Content, Image, Layer
from builder.images.tarlayer import read_layer

_HINT = "an OCI layout is a folder with `index.json`, or a tar file of one"
_SMALL = 4 << 20  # bytes; no manifest or configuration is larger, as registries hold
_INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)


class _Source(Protocol):
    def open(self, path: str) -> BinaryIO: ...


class _Folder:
    """A layout as a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def open(self, path: str) -> BinaryIO:
        return (self._root / path).open("rb")


class _Archive:
    """A layout as a tar file."""

    def __init__(self, path: Path) -> None:
        with ExitStack() as stack:
            self._archive = stack.enter_context(tarfile.open(path))
            self._members = {member.name.removeprefix("./"): member for member in self._archive if member.isreg()}
            stack.pop_all()

    def close(self) -> None:
        self._archive.close()

    def open(self, path: str) -> BinaryIO:
        member = self._members.get(path)
        stream = self._archive.extractfile(member) if member else None
        if stream is None:
            raise FileNotFoundError(path)
        return io.BufferedReader(stream)  # type: ignore[type-var]


def read_layout(path: Path, digest: str, *, name: str, store: Content, architecture: str = "amd64") -> Image:
    """Return the image `digest` (`sha256:…`) of the layout at `path`.

    Raise InputError where there is no layout, VerificationError where a byte is not what its digest says,
    BuildError for what cannot become part of a slot.
    """
    with _opened(path, name) as source:
        reader = _Reader(source, path, name)
        manifest, fields = reader.manifest(digest, architecture)
        described = fields.child("config")
        config = reader.small(described)
        settings = read_document(config, reader.where(described.text("digest")))
        diff_ids = [text.removeprefix("sha256:") for text in settings.child("rootfs").texts("diff_ids")]
        blobs = [layer.text("digest") for layer in fields.children("layers")]
        if len(diff_ids) != len(blobs):
            raise VerificationError(f"the image {name} has {len(blobs)} layers but {len(diff_ids)} diff_ids")
        layers: list[Layer] = []
        for blob, diff_id in zip(blobs, diff_ids, strict=True):
            with reader.stream(blob) as stream:
                layers.append(read_layer(stream, diff_id, below=layers, image=name, content=store))
    return Image(name=name, layers=tuple(layers), config=config, manifest=manifest, created=_created(settings))


@contextmanager
def _opened(path: Path, name: str) -> Iterator[_Source]:
    try:
        if path.is_dir():
            yield _Folder(path)
            return
        with closing(_archive(path, name)) as archive:
            yield archive
    except FileNotFoundError as error:
        raise InputError(
            f"the image {name} is no complete OCI layout: {error.filename or error} is not there",
            hint="`skopeo copy docker://IMAGE oci:PATH` makes one",
        ) from error
    except tarfile.TarError as error:
        raise InputError(f"the image {name}: {path} is neither a folder nor a tar file: {error}", hint=_HINT) from error
    except OSError as error:
        raise InputError(f"the image {name}: {path} cannot be read: {error.strerror or error}", hint=_HINT) from error
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        raise _damaged(path, name, error) from error


def _archive(path: Path, name: str) -> _Archive:
    try:
        return _Archive(path)
    except (ValueError, OverflowError, RecursionError) as error:  # of numbers in a tar's headers
        raise _damaged(path, name, error) from error


def _damaged(path: Path, name: str, error: Exception) -> InputError:
    return InputError(
        f"the image {name}: {path} is damaged or cut off: {error}",
        hint="copy it again, or make it anew with `skopeo copy docker://IMAGE oci-archive:PATH`",
    )


class _Reader:
    def __init__(self, source: _Source, path: Path, name: str) -> None:
        self._source = source
        self._path = path
        self._name = name

    def where(self, digest: str) -> str:
        """Say which file of the layout is meant."""
        return f"the image {self._name}: {digest} of {self._path}"

    def manifest(self, digest: str, architecture: str) -> tuple[bytes, Document]:
        """Return the manifest's bytes and what they say, through an index where `digest` names one."""
        for _ in range(3):  # an index may hold an index
            data = self._blob(digest, None)
            document = read_document(data, self.where(digest))
            if "manifests" not in document.fields or document.fields.get("mediaType") not in (*_INDEXES, None):
                return data, document
            digest = self._choose(document.children("manifests"), architecture)
        raise VerificationError(f"the image {self._name}: indexes stand in indexes too deep")

    def _choose(self, manifests: Sequence[Document], architecture: str) -> str:
        there = []
        for descriptor in manifests:
            platform = descriptor.optional("platform").fields
            there.append(str(platform.get("architecture")))
            if platform.get("os", "linux") == "linux" and platform.get("architecture", architecture) == architecture:
                return descriptor.text("digest")
        raise BuildError(f"the image {self._name} is not there for {architecture}, only for {', '.join(there)}")

    def small(self, descriptor: Document) -> bytes:
        """Return a blob that is held in memory."""
        return self._blob(descriptor.text("digest"), descriptor.fields.get("size"))

    def _blob(self, digest: str, size: object) -> bytes:
        with self._source.open(_blob_path(digest, self._name)) as stream:
            data = stream.read(_SMALL + 1)
        if len(data) > _SMALL or (size is not None and len(data) != size):
            raise VerificationError(f"the image {self._name}: {digest} has not the size that is stated")
        if f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
            raise VerificationError(f"the image {self._name}: {digest} has other content than its name says")
        return data

    @contextmanager
    def stream(self, digest: str) -> Iterator[BinaryIO]:
        """Give a layer's bytes, compressed or not; verified before the first one is given."""
        with self._source.open(_blob_path(digest, self._name)) as stream:
            if f"sha256:{_sha256(stream)}" != digest:
                raise VerificationError(f"the image {self._name}: {digest} has other content than its name says")
            stream.seek(0)
            yield stream


def _sha256(stream: BinaryIO) -> str:
    digest = hashlib.sha256()
    while data := stream.read(1 << 20):
        digest.update(data)
    return digest.hexdigest()


def _blob_path(digest: str, name: str) -> str:
    algorithm, _, value = digest.partition(":")
    if algorithm != "sha256" or len(value) != 64 or not set(value) <= set("0123456789abcdef"):
        raise VerificationError(
            f"the image {name}: `{digest}` is no digest that is known here", hint="`sha256:` and 64 hex digits"
        )
    return f"blobs/sha256/{value}"


def _created(settings: Document) -> int:
    """Return the image's own date; 0 where it has none. Only shown to people."""
    import datetime  # noqa: PLC0415 - rarely needed

    try:
        text = str(settings.fields.get("created"))[:19]
        return int(datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC).timestamp())
    except ValueError:
        return 0
