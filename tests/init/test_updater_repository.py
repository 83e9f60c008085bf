"""How the updater reads a repository: a real one on loopback, and servers that misbehave."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from fakes.bundles import numbered
from fakes.forger import Forged
from fakes.repositories import CLASS

from builder.repository.server import Server
from init.formats import blocks
from init.formats.offer import Offer
from init.updater import check
from init.updater.errors import FailedError, RefusedError
from init.updater.fetch import Repository
from init.updater.http import REDIRECTS, NotFoundError, TooLargeError, Web


@dataclass(frozen=True, kw_only=True)
class Shop:
    """A repository that the product made and serves."""

    forged: Forged
    url: str

    def look(self, kept: Path) -> Offer:
        return check.newest(
            repository=self.url, machine_class=CLASS, channel="stable", root=self.forged.root, kept=kept / "kept",
            floor=0.0, fetcher=check.Fetcher(Web(), sleep=lambda _: None),
        )  # fmt: skip

    def source(self) -> Repository:
        return Repository(self.url, Web(), sleep=lambda _: None, alive=lambda: None)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    forged = Forged(tmp_path)
    with Server(forged.folder, "127.0.0.1", 0, lambda *_: None, lambda: None) as served:
        thread = threading.Thread(target=served.serve_forever, daemon=True)
        thread.start()
        yield Shop(forged=forged, url=f"http://127.0.0.1:{served.port}/")
        served.shutdown()
        thread.join()


def test_the_newest_offer_is_read_and_its_images_come(shop: Shop, tmp_path: Path) -> None:
    shop.forged.publish(1)
    expected = shop.forged.publish(2)
    assert shop.look(tmp_path) == expected
    source = shop.source()
    index = source.index(expected.root.index_sha256, expected.root.index_size)
    whole = b"".join(source.block(block) if block.sha256 else bytes(block.size) for block in index.blocks)
    assert whole == numbered(2).root
    assert source.fetched < len(whole) + expected.root.index_size + blocks.LARGEST_PACK


def test_a_repository_that_is_away_is_a_failure_not_a_refusal(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(FailedError, match="can't be read"):
        replace(shop, url="http://127.0.0.1:1/").look(tmp_path)
    with pytest.raises(FailedError, match="can't be read"):
        shop.look(tmp_path)  # a server with nothing published


def test_without_a_trusted_root_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="trusts no repository"):
        check.trusted_root(None, str(tmp_path / "absent"))
    (tmp_path / "baked").write_bytes(b"baked")
    (tmp_path / "given").write_bytes(b"given")
    assert check.trusted_root(None, str(tmp_path / "baked")) == b"baked"
    assert check.trusted_root(str(tmp_path / "given"), str(tmp_path / "baked")) == b"given"


def test_an_altered_pack_is_refused_and_a_lost_one_is_a_failure(shop: Shop) -> None:
    known = shop.forged.publish(1)
    source = shop.source()
    index = source.index(known.root.index_sha256, known.root.index_size)
    block = next(block for block in index.blocks if block.pack)
    assert block.pack
    path = shop.forged.folder / blocks.pack_path(block.pack.sha256)
    good = path.read_bytes()
    for bad in (good[:-1] + bytes([good[-1] ^ 1]), good[:-1], good + b"x"):
        path.write_bytes(bad)
        with pytest.raises(RefusedError, match="altered"):
            source.block(block)
    path.unlink()
    with pytest.raises(FailedError, match="404"):
        source.block(block)


# A server that misbehaves -----------------------------------------------------------------------------------


@contextmanager
def server(answer: Callable[[http.server.BaseHTTPRequestHandler], None]) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: object) -> None:
            pass

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_address[1]}/"
    finally:
        running.shutdown()
        running.server_close()
        thread.join()


def send(handler: http.server.BaseHTTPRequestHandler, status: int, body: bytes = b"", **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def test_more_bytes_than_may_come_end_it() -> None:
    with server(lambda handler: send(handler, 200, bytes(100_000))) as url:
        with pytest.raises(TooLargeError):
            Web().get(url, 1000)
        assert len(Web().get(url, 100_000)) == 100_000


def test_redirects_are_followed_but_not_for_ever_and_not_to_files() -> None:
    seen = []

    def circle(handler: http.server.BaseHTTPRequestHandler) -> None:
        seen.append(handler.path)
        send(handler, 302, Location=f"/{len(seen)}")

    with server(circle) as url, pytest.raises(OSError, match="redirects too often"):
        Web().get(url, 1000)
    assert len(seen) <= REDIRECTS + 1
    with (
        server(lambda handler: send(handler, 302, Location="file:///etc/passwd")) as url,
        pytest.raises(OSError, match=r"is not followed|not allowed|too often"),
    ):
        Web().get(url, 1000)
    with server(
        lambda handler: send(handler, 200, b"x") if handler.path == "/to" else send(handler, 307, Location="/to")
    ) as url:
        assert Web().get(url, 1000) == b"x"


def test_what_drips_is_given_up() -> None:
    ticks = iter(range(0, 1_000_000, 50))  # each look at the clock is 50 s later
    with (
        server(lambda handler: send(handler, 200, bytes(1 << 20))) as url,
        pytest.raises(OSError, match="too slowly"),
    ):
        Web(clock=lambda: float(next(ticks))).get(url, 1 << 20)


def test_an_answer_that_is_cut_short_is_asked_for_again() -> None:
    data = bytes(range(256)) * 16
    name = hashlib.sha256(data).hexdigest()
    seen = []

    def short(handler: http.server.BaseHTTPRequestHandler) -> None:
        seen.append(handler.path)
        if len(seen) == 1:
            send(handler, 503)
        else:
            send(handler, 200, data)

    block = blocks.Block(sha256=name, size=len(data), pack=blocks.Pack(sha256=name, size=len(data)))
    with server(short) as url:
        assert Repository(url, Web(), sleep=lambda _: None, alive=lambda: None).block(block) == data
    assert len(seen) == 2


def test_a_folder_is_a_repository_too(tmp_path: Path) -> None:
    (tmp_path / "a b").write_bytes(b"data")
    assert Web().get(f"{tmp_path.as_uri()}/a%20b", 10) == b"data"
    with pytest.raises(NotFoundError):
        Web().get(f"{tmp_path.as_uri()}/absent", 10)


@pytest.mark.parametrize("url", ["", "ftp://x/", "http://", "no address", "http://127.0.0.1:1/"])
def test_an_address_that_leads_nowhere_is_an_error_with_words(url: str) -> None:
    with pytest.raises(OSError, match=r".+"):
        Web().get(url, 10)
