"""What the updater believes of a repository: a real one on loopback, real python-tuf, and whoever would deceive it."""

from __future__ import annotations

import datetime
import hashlib
import http.server
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fakes.published import pages, release
from fakes.shop import Shop

from init.formats import blocks
from init.formats.offer import Offer
from init.updater import check
from init.updater.errors import FailedError, RefusedError
from init.updater.fetch import Repository
from init.updater.http import REDIRECTS, NotFoundError, TooLargeError, Web

CLASS = "minimal-amd64"
ONE = release(1, pages(20, 1))
TWO = release(2, pages(20, 2))


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with Shop(tmp_path / "repository") as shop:
        yield shop


def put(shop: Shop, made=ONE, **said) -> Offer:
    known = made.offer
    facts = {
        "machine_class": known.machine_class, "version": known.version, "epoch": known.epoch,
        "published": known.published, "root_hash": known.root_hash, "hash_offset": known.hash_offset, **said,
    }  # fmt: skip
    return shop.publish(made.boot, made.root, **facts)


def look(shop: Shop, kept: Path, *, root: bytes | None = None, floor: float = 0.0, **asked: str) -> Offer:
    wanted = {"machine_class": CLASS, "channel": "stable", **asked}
    return check.newest(
        repository=f"http://127.0.0.1:{shop.port}/", root=root or shop.root, kept=kept / "kept", floor=floor,
        fetcher=check.Fetcher(Web(), sleep=lambda _: None), **wanted,
    )  # fmt: skip


def test_the_newest_offer_is_read_and_its_images_come(shop: Shop, tmp_path: Path) -> None:
    put(shop)
    expected = put(shop, TWO)
    assert look(shop, tmp_path) == expected
    source = Repository(f"http://127.0.0.1:{shop.port}", Web(), alive=lambda: None)
    index = source.index(expected.root.index_sha256, expected.root.index_size)
    whole = b"".join(source.block(block) if block.sha256 else bytes(block.size) for block in index.blocks)
    assert whole == TWO.root
    assert source.fetched < len(TWO.root) + expected.root.index_size + blocks.LARGEST_PACK


def test_another_root_of_trust_refuses_it(shop: Shop, tmp_path: Path) -> None:
    put(shop)
    with Shop(tmp_path / "stranger") as stranger, pytest.raises(RefusedError, match=r"bad signature|does not verify"):
        look(shop, tmp_path, root=stranger.root)


def altered(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))


ALTERED: dict[str, Callable[[Shop], None]] = {
    "timestamp": lambda shop: altered(shop.folder / "metadata/timestamp.json", b'"version":1', b'"version":7'),
    "snapshot": lambda shop: altered(shop.folder / "metadata/1.snapshot.json", b'"version":1', b'"version":7'),
    "targets": lambda shop: altered(shop.folder / "metadata/1.targets.json", b'"length":', b'"length":1'),
    "offer": lambda shop: altered(next((shop.folder / "targets").rglob("*.json")), b'"v1"', b'"v9"'),
    "junk": lambda shop: (shop.folder / "metadata/timestamp.json").write_bytes(b"{" * 5000) and None,
}


@pytest.mark.parametrize("what", ALTERED)
def test_what_was_altered_after_it_was_signed_is_refused(what: str, shop: Shop, tmp_path: Path) -> None:
    put(shop)
    ALTERED[what](shop)
    with pytest.raises((RefusedError, FailedError), match=r"signature|verify|metadata|can't be read"):
        look(shop, tmp_path)


def test_an_older_view_than_was_seen_is_refused(shop: Shop, tmp_path: Path) -> None:
    """The old files are well signed; only who was here before knows that they are old."""
    put(shop)
    old = (shop.folder / "metadata/timestamp.json").read_bytes()
    put(shop, TWO)
    look(shop, tmp_path)
    (shop.folder / "metadata/timestamp.json").write_bytes(old)
    with pytest.raises(RefusedError, match="verify"):
        look(shop, tmp_path)


def test_expired_metadata_is_refused_also_by_a_clock_that_runs_behind(shop: Shop, tmp_path: Path) -> None:
    put(shop)
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    shop.sign(expires=now - datetime.timedelta(days=1))
    with pytest.raises(RefusedError, match="expired"):
        look(shop, tmp_path)
    shop.sign(expires=now + datetime.timedelta(days=1))
    assert look(shop, tmp_path).version == "v1"
    with pytest.raises(RefusedError, match="expired"):  # state's stamp is two days ahead of this computer's clock
        look(shop, tmp_path, floor=time.time() + 2 * 86400)


def test_a_class_or_channel_without_releases_is_said(shop: Shop, tmp_path: Path) -> None:
    put(shop)
    with pytest.raises(RefusedError, match="no release of the class docker-amd64"):
        look(shop, tmp_path, machine_class="docker-amd64")
    with pytest.raises(RefusedError, match="channel edge"):
        look(shop, tmp_path, channel="edge")


def test_a_repository_that_is_away_is_a_failure_not_a_refusal(tmp_path: Path) -> None:
    with Shop(tmp_path / "gone") as shop:
        pass
    with pytest.raises(FailedError, match="can't be read"):
        look(shop, tmp_path)


def test_without_a_trusted_root_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="trusts no repository"):
        check.trusted_root(None, str(tmp_path / "absent"))
    (tmp_path / "baked").write_bytes(b"baked")
    (tmp_path / "given").write_bytes(b"given")
    assert check.trusted_root(None, str(tmp_path / "baked")) == b"baked"
    assert check.trusted_root(str(tmp_path / "given"), str(tmp_path / "baked")) == b"given"


def test_an_altered_pack_is_refused_and_a_lost_one_is_a_failure(shop: Shop) -> None:
    known = put(shop)
    source = Repository(f"http://127.0.0.1:{shop.port}", Web(), sleep=lambda _: None, alive=lambda: None)
    index = source.index(known.root.index_sha256, known.root.index_size)
    block = next(block for block in index.blocks if block.pack)
    assert block.pack
    path = shop.folder / blocks.pack_path(block.pack.sha256)
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
