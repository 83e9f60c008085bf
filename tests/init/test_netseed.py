"""Configurations at an address, from a real server on loopback that is late, silent, dripping or wrong."""

from __future__ import annotations

import http.server
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from init.dialects.machine_config import decide
from init.dialects.netseed import Address, NoAnswer, fetch, shown
from init.dialects.sources import Places, remote

pytestmark = pytest.mark.long  # real servers, which keep one waiting

ROOT = Path(__file__).parents[2]
GOOD = b"#cloud-config\nhostname: fetched\n"
LAST = b"#cloud-config\nhostname: last\n"


class Server(http.server.ThreadingHTTPServer):
    """Answers with `files` by path; `answers` may do anything else for a path."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.answers: dict[str, Callable[[Handler], None]] = {}
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the same
        pass

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.path in self.server.answers:
            self.server.answers[self.path](self)
            return
        data = self.server.files.get(self.path)
        self.send_response(404 if data is None else 200)
        self.end_headers()
        self.wfile.write(data or b"")


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def ask(tmp_path: Path, line: str, *, seconds: str = "20", network: bool = True) -> dict[str, Any]:
    """Run the child as PID 1 does, with a last good configuration beside the command line."""
    (tmp_path / "cmdline").write_text(line)
    (tmp_path / "last").mkdir(exist_ok=True)
    (tmp_path / "last" / "user-data").write_bytes(LAST)
    code = "import sys; from init.dialects.machine_config import main; sys.exit(main(sys.argv[1:]))"
    words = ["--cmdline", tmp_path / "cmdline", "--last-good", tmp_path / "last"]
    words += ["--network", seconds] if network else []
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, check=True, timeout=60, cwd=ROOT)
    assert done.stderr == b""
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_a_seed_is_fetched(server: Server, tmp_path: Path) -> None:
    server.files = {
        "/box/user-data": GOOD,
        "/box/meta-data": b"instance-id: i-7\n",
        "/box/network-config": b"version: 2\nethernets: {eth0: {addresses: [10.0.0.9/24]}}\n",
    }
    got = ask(tmp_path, f"quiet ds=nocloud;s={server.url}/box/")
    assert (got["source"], got["machine"]["hostname"], got["instance_id"]) == ("cmdline", "fetched", "i-7")
    assert got["machine"]["network"]["links"][0]["addresses"] == ["10.0.0.9/24"]
    assert got["document"]
    assert got["diagnostics"] == []


def test_a_seed_may_have_an_empty_user_data_and_not_none(server: Server, tmp_path: Path) -> None:
    server.files = {"/meta-data": b"local-hostname: alone\n"}
    got = ask(tmp_path, f"ds=nocloud;s={server.url}")
    assert (got["source"], got["machine"]["hostname"]) == ("last-good", "last")
    assert "there is no user-data" in got["diagnostics"][0]["message"]
    server.files["/user-data"] = b""
    got = ask(tmp_path, f"ds=nocloud;s={server.url}")
    assert (got["source"], got["machine"]["hostname"]) == ("cmdline", "alone")


def test_one_document_is_fetched_and_html_is_none(server: Server, tmp_path: Path) -> None:
    server.files = {"/c": GOOD, "/h": b"<html>welcome to this hotel</html>"}
    assert ask(tmp_path, f"cloud-config-url={server.url}/c")["machine"]["hostname"] == "fetched"
    got = ask(tmp_path, f"cloud-config-url={server.url}/h")
    assert got["machine"]["hostname"] == "last"
    assert "no configuration lies there" in got["diagnostics"][0]["message"]


def drip(handler: Handler) -> None:
    handler.send_response(200)
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(b"x")
            time.sleep(0.05)
    except OSError:
        return


def drip_headers(handler: Handler) -> None:
    try:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            handler.wfile.write(b"x")
            time.sleep(0.05)
    except OSError:
        return


def fail(handler: Handler) -> None:
    handler.send_response(503)
    handler.end_headers()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(drip, ""), (drip_headers, ""), (fail, ""), (lambda handler: None, "")],
)
@pytest.mark.parametrize("name", ["meta-data", "user-data"])
def test_what_gives_nothing_in_time_leaves_the_next_source(
    server: Server, tmp_path: Path, name: str, answer: Callable[[Handler], None], reason: str
) -> None:
    server.files = {"/meta-data": b"instance-id: i\n", "/user-data": GOOD}
    server.answers[f"/{name}"] = answer
    got = ask(tmp_path, f"ds=nocloud;s={server.url}/", seconds="1")
    assert (got["source"], got["machine"]["hostname"]) == ("last-good", "last")
    (said,) = got["diagnostics"]
    assert said["severity"] == "warning"
    assert server.url in said["message"]
    assert reason in said["message"]


def test_a_server_that_is_late_is_waited_for(tmp_path: Path) -> None:
    tries = []

    def get(url: str, seconds: float) -> bytes | None:
        tries.append(url)
        if len(tries) < 3:
            raise NoAnswer("Connection refused")
        return b"#cloud-config\n{}\n"

    got = fetch(Address(url="http://seed/", kind="seed", source="cmdline"), 60, get)
    assert got.seed is not None
    assert [url.rpartition("/")[2] for url in tries] == ["meta-data"] * 3 + [
        "user-data", "network-config", "vendor-data",
    ]  # fmt: skip


@pytest.mark.parametrize("answer", [drip, fail, None])
def test_vendor_data_is_warned_of_and_its_lack_costs_nothing(
    server: Server, tmp_path: Path, answer: Callable[[Handler], None] | None
) -> None:
    server.files = {"/meta-data": b"instance-id: i\n", "/user-data": GOOD, "/vendor-data": b"#cloud-config\nx: 1\n"}
    if answer is not None:
        server.answers["/vendor-data"] = answer
    got = ask(tmp_path, f"ds=nocloud;s={server.url}/", seconds="2")
    assert (got["source"], got["machine"]["hostname"]) == ("cmdline", "fetched")
    said = [(each["file"], each["message"]) for each in got["diagnostics"]]
    assert said == ([("cmdline:vendor-data", "vendor-data is not acted on")] if answer is None else [])
    assert server.asked.count("/vendor-data") == 1


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        got = ask(tmp_path, f"ds=nocloud;s=http://u:secret@127.0.0.1:{taken.getsockname()[1]}/?token=1", seconds="0.5")
    assert got["source"] == "last-good"
    assert "refused" in got["diagnostics"][0]["message"]
    assert "secret" not in json.dumps(got)
    assert "token" not in got["diagnostics"][0]["message"]


def test_without_a_network_nobody_is_asked(server: Server, tmp_path: Path) -> None:
    got = ask(tmp_path, f"ds=nocloud;s={server.url}/", network=False)
    assert server.asked == []
    assert got["source"] == "last-good"
    assert "there is no network" in got["diagnostics"][0]["message"]


def answer(handler: Handler, data: bytes) -> None:
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(data)


def test_addresses_are_asked_side_by_side_and_the_order_decides(server: Server, tmp_path: Path) -> None:
    """The first answers only when the second has been asked: whoever asks one after the other never hears it."""
    second = threading.Event()

    def one(handler: Handler) -> None:
        second.wait(30)
        answer(handler, GOOD)

    def two(handler: Handler) -> None:
        second.set()
        answer(handler, LAST)

    server.answers = {"/one": one, "/two": two}
    got = ask(tmp_path, f"cloud-config-url={server.url}/one url={server.url}/two", seconds="4")
    assert got["machine"]["hostname"] == "fetched"
    assert got["diagnostics"] == []


def test_who_has_the_first_does_not_wait_for_the_second(server: Server, tmp_path: Path) -> None:
    """The second never answers; the child would be killed after 60 s, and asks for 600."""
    never = threading.Event()
    server.files = {"/one": GOOD}
    server.answers = {"/two": lambda handler: _ignore(never.wait(120))}
    try:
        got = ask(tmp_path, f"cloud-config-url={server.url}/one url={server.url}/two", seconds="600")
    finally:
        never.set()
    assert got["machine"]["hostname"] == "fetched"
    assert got["diagnostics"] == []


def _ignore(_: object) -> None:
    pass


def test_which_addresses_are_asked(tmp_path: Path) -> None:
    (tmp_path / "cmdline").write_text("ds=nocloud;s=file:///x url=ftp://a/ cloud-config-url=https://b/c")
    (tmp_path / "product_serial").write_text("ds=nocloud;s=http://__dmi.system-uuid__.example/\n")
    (tmp_path / "product_uuid").write_text("ab12\n")
    found = remote(Places(cmdline=tmp_path / "cmdline", smbios=tmp_path))
    assert [(each.url, each.kind, each.source) for each in found] == [
        ("https://b/c", "document", "cmdline"),
        ("http://ab12.example/", "seed", "smbios"),
    ]
    assert decide(Places(), None)["source"] == "recipe"


def test_an_address_is_shown_without_what_opens_doors() -> None:
    assert shown("http://u:p@host:80/a/b?token=x") == "http://host:80/a/b"
    assert shown("https://[::1]:8000/") == "https://[::1]:8000/"
