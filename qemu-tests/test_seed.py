"""A configuration on a server, named by the kernel's command line or the firmware, and fetched before all else."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from machine import Machine
from remote import Client, Key, Login

from builder.tools.call import Tools
from init.formats import events

pytestmark = [pytest.mark.qemu, pytest.mark.packages]

SSH = 22
PASSWORD = "correct horse"
HASHED = (
    "$6$rounds=5000$ofthetests$8SHWrywhBp5ZTP8y8E1/BpRZXHET9S9ps52JC7AWtB2i3uk2vCTxHv2J6iy7SrrxDa/QPVtIsMpAi0Sg6wBGO."
)
USER_DATA = """#cloud-config
fqdn: seeded.example.org
prefer_fqdn_over_hostname: true
disable_root: true
user: {{name: me, gecos: Just Me}}
password: {hashed}
ssh_authorized_keys: ["{key}"]
users:
  - default
  - {{name: root, ssh_authorized_keys: ["{key}"]}}
random_seed: {{command: [sh, -c, 'echo "seeds $RANDOM_SEED_FILE" > /run/seeds']}}
"""
META_DATA = b"instance-id: i-seed\n"
NETWORK = 'version: 2\nethernets: {{card: {{match: {{name: "e*"}}, addresses: [{address}]}}}}\n'
ASKED = [f"/box/{name}" for name in ("meta-data", "user-data", "network-config", "vendor-data")]


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers what QEMU's user network asks of 10.0.2.2, which is this computer's loopback."""

    asked: list[str]
    documents: dict[str, bytes]

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the same
        pass

    def do_GET(self) -> None:
        self.asked.append(self.path)
        data = self.documents.get(self.path)
        self.send_response(404 if data is None else 200)
        self.end_headers()
        self.wfile.write(data or b"")


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server on this computer's loopback: what it has, what it was asked for."""

    port: int
    asked: list[str]
    documents: dict[str, bytes]

    def seed(self, key: Key, address: str, **more: bytes) -> str:
        """Put a seed there; return the words that name it."""
        texts = {
            "user-data": USER_DATA.format(key=key.public, hashed=HASHED),
            "network-config": NETWORK.format(address=address),
        }
        self.documents.update({f"/box/{name}": text.encode() for name, text in texts.items()})
        self.documents.update({f"/box/{name.replace('_', '-')}": data for name, data in more.items()})
        return f"ds=nocloud;s=http://10.0.2.2:{self.port}/box/"


@pytest.fixture
def server() -> Iterator[Server]:
    asked: list[str] = []
    documents: dict[str, bytes] = {}
    handler = type("Asked", (Handler,), {"asked": asked, "documents": documents})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield Server(port=made.server_port, asked=asked, documents=documents)
        made.shutdown()
        thread.join()


def addresses(machine: Machine) -> list[str]:
    """Return the card's IPv4 addresses as they are told first."""
    return [address for address in machine.wait(events.NETWORK_UP)["addresses"] if ":" not in address]


@pytest.fixture
def image(built: Callable[..., dict[str, Path]]) -> Path:
    return built("minimal", "--set", "build.kernel=cloud", "--out", "build/out/minimal-cloud")["iso"]


def test_a_seed_that_the_firmware_names(
    server: Server, image: Path, tools: Tools, client: Client, tmp_path: Path
) -> None:
    words = server.seed(client.key("of-the-firmware"), "10.0.2.77/24", meta_data=META_DATA)
    serial = ("-smbios", f"type=1,serial={words}")
    changed = lambda guest: replace(guest, extra=(*guest.extra, *serial))  # noqa: E731
    with Machine(image, tools=tools, folder=tmp_path, direct=True, changed=changed) as machine:
        applied = machine.wait(events.CONFIG_APPLIED)
        assert (applied["source"], applied["warnings"]) == ("smbios", 1)
        # The address by DHCP, which the fetch was made with, was given back.
        assert addresses(machine) == ["10.0.2.77/24"]
        machine.wait(events.CONTAINER_STARTED)
        machine.wait_for_line("seeded")  # the status page has the host name
        machine.power_off()
    assert server.asked == ASKED


def test_a_seed_that_the_command_line_names(
    server: Server, image: Path, tools: Tools, client: Client, tmp_path: Path
) -> None:
    """Root's key in it opens nothing, the default user's does; what a vendor adds is said, and not done."""
    key = client.key("of-the-command-line")
    vendor = b"#cloud-config\nruncmd: [reboot]\n"
    words = server.seed(key, "10.0.2.15/24", meta_data=META_DATA, vendor_data=vendor)
    options: dict[str, Any] = {"direct": True, "cmdline": (words,), "forwards": (SSH,)}
    with Machine(image, tools=tools, folder=tmp_path, **options) as machine:
        applied = machine.wait(events.CONFIG_APPLIED)
        assert (applied["source"], applied["warnings"]) == ("cmdline", 2)
        machine.wait_for_line("these keys open nothing: `disable_root` is true")
        machine.wait_for_line("cmdline:vendor-data: vendor-data is not acted on")
        assert addresses(machine) == ["10.0.2.15/24"]
        machine.wait(events.CONTAINER_STARTED)
        me, root = (Login(client=client, machine=machine, user=user, key=key) for user in ("me", "root"))
        assert me.out("hostname; cat /run/seeds") == "seeded.example.org\nseeds /dev/urandom\n"
        assert "me:x:1000:1000:Just Me:/home/me:/bin/sh" in me.out("cat /etc/passwd").splitlines()
        shut = root.run("true")
        assert (shut.status, "Permission denied (publickey)" in shut.err) == (255, True), shut
        machine.session.type("\n")  # the line may have scrolled away: asked again
        machine.type_at("login: ", "me")
        machine.type_at("assword: ", PASSWORD)
        machine.type_at("$ ", 'echo "$(id -un) is in $PWD, $((40 + 2))"; exit')
        machine.wait_for_line("me is in /home/me, 42")
    assert server.asked == ASKED


@pytest.mark.slow
def test_a_disk_that_never_answers_keeps_neither_the_boot_nor_the_power_off(
    image: Path, tools: Tools, tmp_path: Path
) -> None:
    """It goes mute once the root is mounted: before that, the kernel itself would wait for its partition table."""
    (tmp_path / "mute.img").write_bytes(bytes(8 << 20))
    words = ("-drive", f"if=none,id=mute,format=raw,file={tmp_path}/mute.img", "-device", "virtio-blk-pci,drive=mute")
    options: dict[str, Any] = {
        "direct": True,
        "config": "#cloud-config\nhostname: heard\n",
        "changed": lambda guest: replace(guest, extra=(*guest.extra, *words)),
    }
    with Machine(image, tools=tools, folder=tmp_path, **options) as machine:
        machine.wait_for_line("root: /dev/vda")
        # A byte a second, and a debt of 65536 of them.
        for line in ("block_set_io_throttle mute 0 1 0 0 0 0", 'qemu-io mute "read 0 65536"'):
            machine.session.ask("human-monitor-command", command_line=line)
        assert machine.wait(events.CONFIG_APPLIED)["source"] == "cidata"
        machine.wait_for_line("vdc does not answer, so no configuration was looked for there")
        machine.wait(events.CONTAINER_HEALTHY)
        machine.power_off()
        machine.wait_for_line("a disk has not taken all that is for it")


@pytest.mark.slow
def test_a_disk_that_is_mute_from_the_start_keeps_neither_root_nor_container(
    image: Path, tools: Tools, tmp_path: Path
) -> None:
    """The kernel waits for its partition table for ever, and whoever loads a module plainly, for the kernel."""
    (tmp_path / "mute.img").write_bytes(bytes(8 << 20))
    drive = f"if=none,id=mute,format=raw,file={tmp_path}/mute.img,throttling.bps-total=1"  # after a page nothing comes
    words = ("-drive", drive, "-device", "virtio-blk-pci,drive=mute")
    changed = lambda guest: replace(guest, extra=(*guest.extra, *words))  # noqa: E731
    with Machine(image, tools=tools, folder=tmp_path, direct=True, changed=changed) as machine:
        machine.wait_for_line("a driver waits for a device that does not answer it")
        machine.wait(events.CONTAINER_HEALTHY)
        machine.session.press_power_button()
        assert machine.wait(events.SHUTDOWN_CLEAN)["state_unmounted"] is True
        machine.cut_power()  # the kernel's own power-off waits for that driver
