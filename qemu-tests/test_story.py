"""The whole story, on both firmwares, as docs/tutorial.md tells it: the commands are taken out of the page and run.

From a recipe to an installed machine, an update, a bad one that comes back, a rollback and one more update; with the
real command line, as a person would type it. What is replaced: port numbers, for others may use those of the page;
`--firmware uefi`, as the page says; one virtual CPU, as all guests of the tests have; and `ssh`, `ssh-keygen` and
`curl` are not the host's own.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from pathlib import Path

import pytest
from remote import Client
from tutorial import Reader, blocks

pytestmark = [pytest.mark.qemu, pytest.mark.packages]

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/tutorial.md"
PORTS = ("2222", "8000", "8080")
CURL = """#!{python}
import sys, time, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({{}}))
with opener.open(sys.argv[-1], timeout=30) as answer:
    sys.stdout.write(answer.read().decode())
"""


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on now; all were held at once, so no two are the same."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in held]
    finally:
        for each in held:
            each.close()


def page_for(firmware: str) -> str:
    """Return the page as it is followed here."""
    page = PAGE.read_text()
    numbers = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
    page = re.sub(rf"\b({'|'.join(PORTS)})\b", lambda found: numbers[found[1]], page)
    return re.sub(r"^berth run\b", f"berth run --firmware {firmware} --cpus 1", page, flags=re.MULTILINE)


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_the_tutorial(firmware: str, client: Client, tmp_path: Path) -> None:
    (tmp_path / "berth").symlink_to(ROOT)
    curl = client.on_path() / "curl"
    curl.write_text(CURL.format(python=sys.executable))
    curl.chmod(0o755)
    environment = {**os.environ, "PATH": f"{client.on_path()}:{os.environ['PATH']}"}
    # a reader's own, not that of the clone's tests
    for name in ("PYTHONPATH", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
        environment.pop(name, None)
    with Reader(tmp_path, environment) as reader:
        reader.follow(list(blocks(page_for(firmware))))
        assert reader.ends("machine") == 0
        assert reader.ends("server", interrupt=True) in (0, 130)
