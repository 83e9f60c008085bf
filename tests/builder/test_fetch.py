"""The HTTP client and the download, against a real server that cuts, lies, stalls, refuses and floods."""

import hashlib
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import mirror as fake
from fakes.mirror import FakeMirror, running_mirror

from builder.errors import BerthError, FetchError, VerificationError
from builder.fetch.download import Patience, Wanted, bring
from builder.fetch.http import Client, Gone, Interrupted, Limits, Refused, shown
from builder.fetch.parallel import for_each
from builder.fetch.redirect import allowed_target, is_inside
from builder.fetch.store import Store

pytestmark = pytest.mark.long  # real servers, which keep one waiting

BODY = random.Random(3).randbytes(50_000)
NAME = hashlib.sha256(BODY).hexdigest()
QUICK = Patience(attempts=3, first_wait=0.01, longest_wait=0.02)
IMPATIENT = Limits(connect=2, silence=0.4, window=0.3, window_bytes=4096)


@pytest.fixture
def mirror() -> Iterator[FakeMirror]:
    with running_mirror() as running:
        running.files["/debian/file"] = BODY
        yield running


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def download(
    mirror: FakeMirror, store: Store, *, limits: Limits | None = None, paths: tuple[str, ...] = ("file",)
) -> int:
    came = [0]

    def report(amount: int) -> None:
        came[0] += amount

    wanted = Wanted(title="thing 1.0", urls=[mirror.url(path) for path in paths], sha256=NAME, size=len(BODY))
    with Client(limits) as client:
        bring(client, store, wanted, patience=QUICK, report=report)
    assert store.read(NAME) == BODY
    assert not list((store.root / "partial").iterdir())
    return came[0]


@pytest.mark.parametrize("behaviour", [fake.whole, fake.chunked, fake.without_length(10**6), fake.no_ranges])
def test_a_good_answer_in_any_form(mirror: FakeMirror, store: Store, behaviour) -> None:
    mirror.misbehave("file", behaviour)
    assert download(mirror, store) == len(BODY)


def test_a_broken_line_is_resumed_where_it_broke(mirror: FakeMirror, store: Store) -> None:
    mirror.misbehave("file", fake.breaks_after(20_000, times=2))
    assert download(mirror, store) == len(BODY)
    assert [wanted for _, wanted in mirror.asked] == ["", "bytes=20000-", "bytes=40000-"]


def test_a_server_that_cannot_resume_is_asked_again_from_the_beginning(mirror: FakeMirror, store: Store) -> None:
    (store.root / "partial" / NAME).write_bytes(BODY[:1000])
    mirror.misbehave("file", fake.no_ranges)
    assert download(mirror, store) == len(BODY)


def test_an_interrupted_run_is_gone_on_with(mirror: FakeMirror, store: Store) -> None:
    (store.root / "partial" / NAME).write_bytes(BODY[:30_000])
    assert download(mirror, store) == len(BODY)
    assert mirror.asked == [("/debian/file", "bytes=30000-")]


@pytest.mark.parametrize("rest", [b"wrong" * 1000, b"x" * 60_000, BODY])
def test_what_an_earlier_run_left_wrong_does_no_harm(mirror: FakeMirror, store: Store, rest: bytes) -> None:
    (store.root / "partial" / NAME).write_bytes(rest)
    download(mirror, store)


@pytest.mark.parametrize("code", [500, 502, 503, 429])
def test_a_passing_failure_is_tried_again(mirror: FakeMirror, store: Store, code: int) -> None:
    tries = [0]

    def twice_bad(handler, body: bytes) -> None:
        tries[0] += 1
        if tries[0] <= 2:
            fake.answer(handler, code, b"not now", Retry_After="0")
        else:
            fake.whole(handler, body)

    mirror.misbehave("file", twice_bad)
    download(mirror, store)


@pytest.mark.parametrize(
    ("behaviour", "kind", "words"),
    [
        (fake.status(404), Gone, "404"),
        (fake.status(403), Gone, "403"),
        (fake.status(500), FetchError, "500"),
        (fake.status(418), Refused, "418"),
        (fake.web_page, Refused, "50 bytes where 50000 are right (it answers with a web page"),
        (lambda handler, body: fake.answer(handler, 200, body[:20_000]), Refused, "20000 bytes where 50000 are right"),
        (fake.replaced(b"<html>" + BODY[6:]), VerificationError, "web page"),
        (fake.replaced(BODY[:-1] + b"?"), VerificationError, "does not have the SHA-256"),
        (fake.replaced(BODY + b"more"), Refused, "at most 50000"),
        (fake.breaks_after(0), FetchError, "ended in the middle"),
        (fake.without_length(10), FetchError, "of 50000 bytes"),
        (fake.never_ends, Refused, "larger than"),
        (fake.silent, FetchError, "no answer in time"),
        (fake.silent_in_the_middle, FetchError, "no answer in time"),
        (fake.trickles, FetchError, "bytes came within"),
        (fake.trickles_headers, FetchError, "no answer in time"),
        (fake.redirect("file:///etc/passwd"), Refused, "only http and https"),
        (fake.redirect("ftp://127.0.0.1/x"), Refused, "only http and https"),
        (fake.redirect(""), Refused, "redirects"),
        (fake.redirect("file"), Refused, "more than 5 redirects"),
    ],
)
def test_misbehaviour_is_told_and_leaves_nothing_in_the_store(
    mirror: FakeMirror, store: Store, behaviour, kind: type[BerthError], words: str
) -> None:
    mirror.misbehave("file", behaviour)
    with pytest.raises(kind) as caught:
        download(mirror, store, limits=IMPATIENT)
    assert words in caught.value.message
    assert not store.has(NAME)


@pytest.mark.parametrize(
    "behaviour",
    [
        fake.trailers_never_end,
        fake.trickles_behind_a_chunk(b"0\r\n", b"A: b\r\n"),
        fake.trickles_behind_a_chunk(b"1;", b"x"),
    ],
)
def test_chunks_whose_end_never_comes(mirror: FakeMirror, store: Store, behaviour) -> None:
    mirror.misbehave("file", behaviour)
    with Client(IMPATIENT) as client, pytest.raises(Interrupted, match="no answer in time"):
        client.get(mirror.url("file"), limit=10**6)
    assert download(mirror, store, limits=IMPATIENT) == len(BODY)  # what has come whole is taken


def test_a_web_page_that_is_too_long_is_called_one(mirror: FakeMirror) -> None:
    mirror.misbehave("file", fake.web_page)
    with Client() as client, pytest.raises(Refused, match="log-in portal"):
        client.get(mirror.url("file"), limit=10)


def test_nobody_listens(store: Store) -> None:
    wanted = Wanted(title="t", urls=["http://127.0.0.1:1/file"], sha256=NAME, size=1)
    with Client() as client, pytest.raises(FetchError, match="refused"):
        bring(client, store, wanted, patience=QUICK)


def test_a_name_that_does_not_exist(store: Store) -> None:
    with Client() as client, pytest.raises(Interrupted, match="cannot be resolved"):
        client.get("http://name.invalid/file", limit=10)


@pytest.mark.parametrize("url", ["http://", "http://[::1", "http://exa mple/", "nonsense", "http://x:99999999/"])
def test_no_address(url: str) -> None:
    with Client() as client, pytest.raises(FetchError):
        client.get(url, limit=10)


def test_a_redirect_within_bounds_is_followed_and_keeps_the_range(mirror: FakeMirror, store: Store) -> None:
    mirror.misbehave("elsewhere", fake.redirect("file"))
    (store.root / "partial" / NAME).write_bytes(BODY[:100])
    download(mirror, store, paths=("elsewhere",))
    assert mirror.asked[-1] == ("/debian/file", "bytes=100-")


def test_the_second_address_is_asked_when_the_first_has_nothing(mirror: FakeMirror, store: Store) -> None:
    download(mirror, store, paths=("absent", "file"))


@pytest.mark.parametrize(
    ("origin", "target", "allowed"),
    [
        ("http://192.0.2.1/a", "http://192.0.2.2/b", True),
        ("http://192.0.2.1/a", "https://192.0.2.2/b", True),
        ("https://192.0.2.1/a", "http://192.0.2.2/b", False),
        ("http://192.0.2.1/a", "http://127.0.0.1/b", False),
        ("http://192.0.2.1/a", "http://127.1.2.3:8080/b", False),
        ("http://192.0.2.1/a", "http://localhost/b", False),
        ("http://192.0.2.1/a", "http://LOCALHOST./b", False),
        ("http://192.0.2.1/a", "http://[::1]/b", False),
        ("http://192.0.2.1/a", "http://[::ffff:127.0.0.1]/b", False),
        ("http://192.0.2.1/a", "http://0.0.0.0/b", False),
        ("http://192.0.2.1/a", "http://169.254.169.254/latest/meta-data", False),
        ("http://127.0.0.1/a", "http://127.0.0.1/b", True),
        ("http://127.0.0.1/a", "http://192.0.2.1/b", True),
        ("http://192.0.2.1/a", "file:///etc/shadow", False),
        ("http://192.0.2.1/a", "gopher://192.0.2.1/", False),
        ("http://192.0.2.1/a", "http:///nohost", False),
    ],
)
def test_where_redirects_may_lead(origin: str, target: str, allowed: bool) -> None:
    assert (allowed_target(origin, target) is None) is allowed


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "[::ffff:127.0.0.1]", "file:"])
def test_a_mirror_elsewhere_cannot_send_the_client_to_this_computer(
    mirror: FakeMirror, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, host: str
) -> None:
    """The mirror is another host's by name, and reached as a proxy; the service here listens, and would answer."""
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{mirror.server.server_address[1]}")
    monkeypatch.setenv("no_proxy", "127.0.0.1,127.9.9.9,localhost,::ffff:127.0.0.1")
    mirror.files["/private"] = BODY
    (tmp_path / "private").write_bytes(BODY)
    port = mirror.server.server_address[1]
    target = f"file://{tmp_path}/private" if host == "file:" else f"http://{host}:{port}/private"
    mirror.misbehave("file", fake.redirect(target))
    wanted = Wanted(title="thing 1.0", urls=["http://mirror.invalid/file"], sha256=NAME, size=len(BODY))
    with Client() as client, pytest.raises(Refused, match=r"redirected to .*: (only http|a server elsewhere)"):
        bring(client, store, wanted, patience=QUICK)
    assert [path for path, _ in mirror.asked] == ["http://mirror.invalid/file"]
    assert not store.has(NAME)


def test_names_of_this_computer() -> None:
    assert is_inside("localhost")
    assert not is_inside("name.invalid")


def test_a_password_in_an_address_is_not_shown(mirror: FakeMirror) -> None:
    assert shown("http://me:secret@host:80/x?y") == "http://host:80/x?y"
    url = mirror.url("absent").replace("://", "://me:secret@")
    with Client() as client, pytest.raises(Gone) as caught:
        client.get(url, limit=10)
    assert "secret" not in caught.value.message


def test_a_proxy_is_used_and_no_proxy_obeyed(mirror: FakeMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    address = mirror.base.removesuffix("/debian")
    monkeypatch.setenv("http_proxy", address)
    mirror.files["http://mirror.invalid/debian/file"] = b"by proxy"
    with Client() as client:
        assert client.get("http://mirror.invalid/debian/file", limit=100) == b"by proxy"
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with Client() as client, pytest.raises(Interrupted, match="proxy"):
        client.get("http://mirror.invalid/debian/file", limit=100)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Client() as client:
        assert client.get(mirror.url("file"), limit=10**6) == BODY


def test_two_builds_at_once_fetch_a_file_once(mirror: FakeMirror, store: Store) -> None:
    mirror.misbehave("file", lambda handler, body: (time.sleep(0.1), fake.whole(handler, body)))
    threads = [threading.Thread(target=download, args=(mirror, Store(store.root))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.read(NAME) == BODY
    assert len(mirror.asked) == 1


FETCHER = textwrap.dedent("""
    import sys
    from pathlib import Path
    from builder.fetch.download import Patience, Wanted, bring
    from builder.fetch.http import Client
    from builder.fetch.store import Store
    print("ready", flush=True)
    with Client() as client:
        bring(client, Store(Path(sys.argv[1])), Wanted(title="t", urls=[sys.argv[2]], sha256=sys.argv[3], size=50_000),
              patience=Patience())
""")


def test_killed_at_seeded_instants_the_next_download_is_right(mirror: FakeMirror, store: Store) -> None:
    def slowly(handler, body: bytes) -> None:
        wanted = handler.headers.get("Range", "")
        start = int(wanted[6:-1]) if wanted else 0
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(body) - start))
        handler.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        handler.end_headers()
        for at in range(start, len(body), 2500):
            handler.wfile.write(body[at : at + 2500])
            handler.wfile.flush()
            time.sleep(0.01)

    mirror.misbehave("file", slowly)
    chance = random.Random(8)
    for _ in range(4):
        arguments = [sys.executable, "-c", FETCHER, str(store.root), mirror.url("file"), NAME]
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(chance.random() * 0.12)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    mirror.behaves.clear()
    download(mirror, store)


def test_ctrl_c_ends_at_once_although_a_server_is_silent(mirror: FakeMirror, store: Store) -> None:
    mirror.misbehave("file", fake.silent)
    script = textwrap.dedent("""
        import signal, sys, time
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
        from builder.fetch.http import Client
        from builder.fetch.parallel import for_each
        client = Client()
        print("ready", flush=True)
        try:
            for_each(["a", "b"], lambda _: client.get(sys.argv[1], limit=10), threads=2)
        except KeyboardInterrupt:
            print("stopped", flush=True)
    """)
    arguments = [sys.executable, "-c", script, mirror.url("file")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        while len(mirror.asked) < 2:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "stopped\n"
        assert process.wait(timeout=10) == 0


def test_many_at_once_keep_their_order_and_stop_at_a_failure() -> None:
    assert for_each(range(50), lambda number: number * 2, threads=4) == [number * 2 for number in range(50)]
    assert for_each([], lambda item: item, threads=4) == []
    begun = []

    def work(number: int) -> None:
        begun.append(number)
        if number == 3:
            raise FetchError("no")

    with pytest.raises(FetchError):
        for_each(range(10_000), work, threads=2)
    assert len(begun) < 10_000


def test_a_disk_that_fills_is_not_taken_for_the_network(mirror: FakeMirror, store: Store) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(BerthError, match="cannot write to the store") as caught:
            download(mirror, store)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert not isinstance(caught.value, FetchError)
    assert len(mirror.asked) == 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"\xff\xfe\x00nonsense\xff\r\n\r\n", "does not speak HTTP"),
        (b"\x15\x03\x01\x00\x02\x02\x16", "does not speak HTTP"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "does not speak HTTP"),
        (b"x" * 100_000, "does not speak HTTP"),
        (b"HTTP/1.1 abc OK\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\xff\xfezz\r\n", "does not speak HTTP"),
        (b"", "closed without an answer"),
        (b"HTTP/1.1 404 no\xff\x1b[31m\r\nContent-Length: 0\r\n\r\n", "answers 404 no??[31m"),
        (b"HTTP/1.1 302 x\r\nLocation: http://\xff\x1b[3/\r\nContent-Length: 0\r\n\r\n", "cannot be read"),
        (b"HTTP/1.1 302 x\r\nLocation: http://[x/\r\nContent-Length: 0\r\n\r\n", "cannot be read"),
        (b"HTTP/1.1 302 x\r\nLocation: http://[::1%25/\r\nContent-Length: 0\r\n\r\n", "cannot be read"),
        (b"HTTP/1.1 503 x\r\nRetry-After: \xb2\r\nContent-Length: 0\r\n\r\n", "answers 503"),
        (b"HTTP/1.1 503 x\r\nRetry-After: " + b"9" * 5000 + b"\r\nContent-Length: 0\r\n\r\n", "answers 503"),
        (b"HTTP/1.1 200 x\r\nContent-Length: \xb2\r\n\r\n" + b"x" * 1001, "larger than the 1000 bytes"),
        (b"HTTP/1.1 200 x\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n" + b"x" * 1001, "larger than the 1000"),
    ],
)
def test_a_server_that_talks_no_http_is_called_so_and_its_bytes_are_not_shown(answer: bytes, said: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with Client(IMPATIENT) as client, pytest.raises(FetchError) as caught:
            client.get(f"http://127.0.0.1:{server.getsockname()[1]}/x", limit=1000)
        thread.join()
    assert said in caught.value.message
    assert caught.value.message.isascii()
    assert caught.value.message.isprintable()
