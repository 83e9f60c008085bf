"""A configuration on a server, named by the firmware's serial number and fetched before anything is configured."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from machine import Machine

from builder.tools.call import Tools
from init.formats import events

pytestmark = [pytest.mark.qemu, pytest.mark.packages]

DOCUMENTS = {
    "/box/user-data": b"#cloud-config\nhostname: seeded\n",
    "/box/meta-data": b"instance-id: i-seed\n",
    "/box/network-config": b'version: 2\nethernets: {card: {match: {name: "e*"}, addresses: [10.0.2.77/24]}}\n',
}


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers what QEMU's user network asks of 10.0.2.2, which is this computer's loopback."""

    asked: list[str]

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the same
        pass

    def do_GET(self) -> None:
        self.asked.append(self.path)
        data = DOCUMENTS.get(self.path)
        self.send_response(404 if data is None else 200)
        self.end_headers()
        self.wfile.write(data or b"")


@pytest.fixture
def server() -> Iterator[tuple[int, list[str]]]:
    asked: list[str] = []
    handler = type("Asked", (Handler,), {"asked": asked})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield made.server_port, asked
        made.shutdown()
        thread.join()


def test_a_seed_on_a_server(
    server: tuple[int, list[str]], built: Callable[..., dict[str, Path]], tools: Tools, tmp_path: Path
) -> None:
    port, asked = server
    image = built("minimal", "--set", "build.kernel=cloud", "--out", "build/out/minimal-cloud")["iso"]
    serial = ("-smbios", f"type=1,serial=ds=nocloud;s=http://10.0.2.2:{port}/box/")
    changed = lambda guest: replace(guest, extra=(*guest.extra, *serial))  # noqa: E731
    with Machine(image, tools=tools, folder=tmp_path, direct=True, changed=changed) as machine:
        applied = machine.wait(events.CONFIG_APPLIED)
        assert (applied["source"], applied["warnings"]) == ("smbios", 0)
        up = machine.wait(events.NETWORK_UP)
        # The address by DHCP, which the fetch was made with, was given back.
        assert [address for address in up["addresses"] if ":" not in address] == ["10.0.2.77/24"]
        machine.wait(events.CONTAINER_STARTED)
        machine.wait_for_line("seeded")  # the status page has the host name
        machine.power_off()
    assert asked == ["/box/meta-data", "/box/user-data", "/box/network-config", "/box/vendor-data"]
