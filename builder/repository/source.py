"""A repository to read from: a folder, or a URL. What comes is never believed; whoever asks says how much may come."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from builder.errors import RepositoryError
from builder.fetch.download import Patience, wait_before
from builder.fetch.http import Client, Gone, Interrupted, Limits


class Source(Protocol):
    """Where a repository's files come from."""

    def read(self, path: str, limit: int) -> bytes | None:
        """Return at most `limit` bytes and one more; None where there is no such file. Raise BerthError, OSError."""


class FolderSource:
    """A repository on this computer."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, path: str, limit: int) -> bytes | None:
        """Return a file's bytes."""
        try:
            with (self._root / path).open("rb") as file:
                return file.read(limit + 1)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None


class WebSource:
    """A repository on a web server."""

    def __init__(self, base: str, patience: Patience | None = None) -> None:
        if not base.startswith(("http://", "https://")):
            raise RepositoryError(f"{base!r} is neither a folder nor an address", hint="berth repo check DIR|URL")
        self._base = base.rstrip("/") + "/"
        self._client = Client(Limits())
        self._patience = patience or Patience()
        self._reached = False

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def read(self, path: str, limit: int) -> bytes | None:
        """Return a file's bytes; raise FetchError where the server gives neither them nor a no."""
        for attempt in range(1, self._patience.attempts + 1):
            try:
                data = self._client.get(self._base + path, limit=limit)
            except Gone:
                self._reached = True
                return None
            except Interrupted as failure:  # an address that never answered is told at once
                if not self._reached or attempt == self._patience.attempts:
                    raise
                wait_before(attempt, self._patience, failure.after)
            else:
                self._reached = True
                return data
        raise AssertionError("the loop above returns or raises")
