"""Fetching indexes and packs by their hashes: what is lost is asked for again, what is altered is never used."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

from init.formats import blocks, offer
from init.updater.errors import FailedError, RefusedError
from init.updater.http import Getter, NotFoundError, TooLargeError

PAUSES = (1.0, 2.0, 5.0, 15.0, 30.0)  # seconds before the second try, the third, …


class Repository:
    """A repository's content-addressed half. `fetched` counts the bytes that came in."""

    def __init__(
        self, base: str, getter: Getter, *, sleep: Callable[[float], None] = time.sleep, alive: Callable[[], None]
    ) -> None:
        """`base` is its URL; `alive` is called before each pause, so that somebody can be told."""
        self._base = base.rstrip("/") + "/"
        self._getter = getter
        self._sleep = sleep
        self._alive = alive
        self.fetched = 0
        self._kept: tuple[blocks.Pack, bytes] | None = None

    def index(self, sha256: str, size: int) -> blocks.Index:
        """Return an index; raise RefusedError for what is none, FailedError where it does not come."""
        if size > blocks.LARGEST_INDEX:
            raise RefusedError(f"an index of {size} bytes is too large: at most {blocks.LARGEST_INDEX}")
        data = self._verified(offer.index_path(sha256), sha256, size)
        try:
            return blocks.Index.decode(data)
        except ValueError as error:
            raise RefusedError(f"the index {sha256[:12]}…: {error}") from error

    def block(self, block: blocks.Block) -> bytes:
        """Return a block out of its pack; raise RefusedError for an altered one, FailedError where it does not come.

        The last pack is kept: who asks in the packs' order fetches each of them once.
        """
        pack = block.pack
        assert pack is not None, "a run of zeros is not stored"
        if self._kept is None or self._kept[0] != pack:
            self._kept = (pack, self._verified(blocks.pack_path(pack.sha256), pack.sha256, pack.size))
        data = self._kept[1][block.offset : block.offset + block.size]
        if hashlib.sha256(data).hexdigest() != block.sha256:
            raise RefusedError(f"{blocks.pack_path(pack.sha256)} holds another block than its index says")
        return data

    def _verified(self, path: str, sha256: str, size: int) -> bytes:
        """What has the wrong hash is asked for once more: a cache may have been cut short; then it is refused."""
        altered = 0
        for pause in (*PAUSES, None):
            try:
                data = self._getter.get(self._base + path, size)
                self.fetched += len(data)
                if len(data) == size and hashlib.sha256(data).hexdigest() == sha256:
                    return data
                altered += 1
                problem = f"{path} is altered: its hash is not the signed one"
            except TooLargeError:
                altered += 1
                problem = f"{path} is altered: it is larger than what was signed"
            except NotFoundError as error:
                raise FailedError(f"{self._base}{path}: {error.strerror}") from error
            except OSError as error:
                problem = f"{self._base}{path}: {error.strerror or error}"
            if altered > 1:
                raise RefusedError(problem)
            if pause is None:
                break
            self._alive()
            self._sleep(pause)
        raise FailedError(problem)
