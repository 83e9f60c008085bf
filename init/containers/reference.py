"""The names of images in registries, with Docker's defaults."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """Where an image is. Exactly one of `tag` and `digest` says which one it is."""

    host: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @property
    def name(self) -> str:
        """What stands in the manifest's URL."""
        return self.digest or self.tag or "latest"


def parse(text: str) -> Reference:
    """Read `[HOST[:PORT]/]PATH[:TAG][@sha256:…]`, with Docker's defaults. Raise ValueError."""
    rest, _, digest = text.partition("@")
    if digest and not is_digest(digest):
        raise ValueError(f"`{digest}` is no digest that is known here")
    head, slash, path = rest.partition("/")
    if slash and ("." in head or ":" in head or head == "localhost"):
        host = head
    else:
        host, path = "docker.io", rest
    path, _, tag = path.partition(":")
    if host in ("docker.io", "index.docker.io"):
        host = "registry-1.docker.io"
        path = path if "/" in path else f"library/{path}"
    if not re.fullmatch(r"[a-z0-9]+([._/-]+[a-z0-9]+)*", path):
        raise ValueError(f"`{text}` is no image's name: letters have to be small")
    return Reference(host=host, repository=path, tag=None if digest else tag or "latest", digest=digest or None)


def is_digest(text: object) -> bool:
    """Tell whether a text is `sha256:` and 64 hex digits."""
    algorithm, _, value = str(text).partition(":")
    return algorithm == "sha256" and len(value) == 64 and set(value) <= set("0123456789abcdef")
