"""Containers on a real machine, the same lines in every recipe: pulled, limited, killed, unhealthy, cut off from power.

Their images come from Debian's own registry, over TLS with an authority of the test's and a password, once directly and
once through a proxy.
"""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import hostile
import pytest
from machine import Machine
from privateregistry import BEHIND, PASSWORD, USER, PrivateRegistry, Proxy, image_archive, registry_tools
from remote import Client, Key, Login

from builder.tools.call import Tools
from init.formats import events

pytestmark = [pytest.mark.qemu, pytest.mark.packages]

Built = Callable[..., dict[str, Path]]
TOKEN = "t0ken-of-the-container"
ARCHIVE = "/var/lib/images/saved.tar"
PAGES = "/var/lib/berth/volumes/pages"
SERVES = 'echo "$GREETING" > /pages/index.html; exec /bin/busybox httpd -f -p 80 -h /pages'
CONFIG = """#cloud-config
hostname: shop
disable_root: false
users: [{{name: root, ssh_authorized_keys: ["{key}"]}}]
ca_certs:
  trusted:
    - |
{ca_system}
berth:
  health: {{settle: 3s, within: 10m}}
  environment: {{HTTPS_PROXY: "http://10.0.2.2:{proxy}", NO_PROXY: "10.0.2.2,127.0.0.1,localhost"}}
  registries:
    "{host}":
      username: {user}
      password: {password}
      ca: |
{ca}
    "{behind}": {{username: {user}, password: {password}}}
  containers:
    web:
      image: {host}/shop/web:1
      ports: ["8080:80"]
      volumes: ["pages:/pages"]
      environment: {{GREETING: "hello from the registry", TOKEN: {token}}}
      restart: always
      required: true
      mem_limit: 48m
      cpus: 0.5
      pids_limit: 40
      entrypoint: [/bin/busybox, sh, -c, '{serves}']
      healthcheck: {{http: "http://127.0.0.1:80/", interval: 2s, timeout: 20s, retries: 2}}
    behind:
      image: {behind}/shop/web:1
      entrypoint: [/bin/busybox, sleep, "100000"]
    saved:
      image: archive:{archive}
      command: [sleep, "100000"]
"""


@dataclass(frozen=True, kw_only=True)
class Shop:
    """A machine that runs what its registry has."""

    recipe: str
    machine: Machine
    root: Login
    registry: PrivateRegistry
    proxy: Proxy
    busybox: bytes


@pytest.fixture(scope="session")
def registry_programs(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Tools:
    """Return the registry's programs, unpacked."""
    return registry_tools(tools, tmp_path_factory.mktemp("registry-tools"))


@pytest.fixture(scope="module", params=["minimal", "podman", "docker"])
def shop(  # noqa: PLR0917 - what it is made of
    request: pytest.FixtureRequest,
    built: Built,
    tools: Tools,
    registry_programs: Tools,
    client: Client,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Shop]:
    """Return each recipe's machine, from a disk that keeps its state, with its containers from the registry up."""
    recipe = request.param
    folder = tmp_path_factory.mktemp(f"shop-{recipe}")
    image = built(recipe, "--set", "build.kernel=cloud", "--out", f"build/out/{recipe}-cloud")["raw"]
    registry = PrivateRegistry(registry_programs, folder)
    proxy = Proxy(registry.port)
    try:
        busybox = registry_programs.program("busybox").read_bytes()
        registry.push("shop/web", "1", {"bin/busybox": busybox}, Entrypoint=["/bin/busybox"], Cmd=["sh"])
        registry.push("shop/hand", "1", {"bin/tool": busybox[:4096]}, Entrypoint=["/bin/tool"])
        key = client.key(f"root-of-the-{recipe}-shop")
        config = config_of(registry, proxy, key)
        disk = folder / "disk.qcow2"
        with Machine(
            image, tools=tools, folder=folder, config=config, disk=disk, memory=768, forwards=(8080, 22)
        ) as machine:
            machine.wait(events.CONTAINER_HEALTHY, name="web", timeout=400)
            root = Login(client=client, machine=machine, user="root", key=key)
            yield Shop(recipe=recipe, machine=machine, root=root, registry=registry, proxy=proxy, busybox=busybox)
    finally:
        proxy.stop()
        registry.stop()


def config_of(registry: PrivateRegistry, proxy: Proxy, key: Key) -> str:
    """Return the machine's config."""
    return CONFIG.format(
        key=key.public, ca=textwrap.indent(registry.ca, " " * 8), ca_system=textwrap.indent(registry.ca, " " * 6),
        proxy=proxy.port, host=registry.host, behind=BEHIND, user=USER, password=PASSWORD, token=TOKEN,
        serves=SERVES, archive=ARCHIVE,
    )  # fmt: skip


def test_the_registrys_image_serves_the_published_port(shop: Shop) -> None:
    assert shop.machine.get(8080) == b"hello from the registry\n"


def test_a_registry_behind_the_proxy_is_reached_with_the_machines_authorities(shop: Shop) -> None:
    shop.machine.wait(events.CONTAINER_HEALTHY, name="behind")
    assert any(line.startswith(f"CONNECT {BEHIND}") for line in shop.proxy.asked), shop.proxy.asked
    assert not any("10.0.2.2" in line for line in shop.proxy.asked), "NO_PROXY is not heeded"


def test_what_is_pulled_by_hand_goes_the_same_way(shop: Shop) -> None:
    """Proxy, authorities and, for podman, the password are the machine's own, however little was typed."""
    through, direct = f"{BEHIND}/shop/hand:1", f"{shop.registry.host}/shop/hand:1"
    if shop.recipe == "minimal":
        assert shop.root.run(f"podman pull {through}").status == 127, "an appliance has no engine to type to"
        return
    before = len(shop.proxy.asked)
    if shop.recipe == "docker":  # its client keeps passwords of its own, which dockerd tries at once
        for host in (BEHIND, shop.registry.host):
            shop.root.send(PASSWORD.encode(), f"docker login -u {USER} --password-stdin {host}")
    for image in (through, direct):
        shop.root.out(f"{shop.recipe} pull -q {image}")
    assert any(line.startswith(f"CONNECT {BEHIND}") for line in shop.proxy.asked[before:]), shop.proxy.asked
    shop.root.out(f"{shop.recipe} image inspect {through} {direct} > /run/by-hand && rm -rf /root/.docker")


def test_limits_are_the_kernels(shop: Shop) -> None:
    pid = "$(cat /run/berth/containers/web/pid)"
    folder = f"/sys/fs/cgroup$(sed -n s/^0:://p /proc/{pid}/cgroup)"
    said = shop.root.out(f"cd {folder} && cat memory.max cpu.max pids.max")
    assert said.splitlines() == [str(48 << 20), "50000 100000", "40"]


def test_an_archive_that_comes_later_is_started(shop: Shop) -> None:
    """There is none at first: that is said, and tried again until it is there."""
    root, machine = shop.root, shop.machine
    assert ARCHIVE in root.out("berthctl logs saved")
    data = image_archive({"bin/busybox": shop.busybox}, Entrypoint=["/bin/busybox"])
    root.send(data, f"mkdir -p {shlex.quote(ARCHIVE.rpartition('/')[0])} && cat > {ARCHIVE}")
    root.out("berthctl service restart saved")
    machine.wait(events.CONTAINER_HEALTHY, name="saved")


def test_no_hostile_layer_changes_anything_outside(shop: Shop) -> None:
    """Each archive goes the way that `archive:` goes in this recipe: unpacked by us, by podman, or by dockerd.

    Whether it is refused or unpacked within the image is the engine's to say.
    """
    root, machine = shop.root, shop.machine
    victim = hostile.VICTIM
    root.out(f"mkdir -m 750 {victim} && echo mine > {victim}/mine && chmod 600 {victim}/mine && cp {ARCHIVE} /run/good")
    look = f"cd {victim} && stat -c '%n %f %u %g %h %s %Y %i' . * && cat mine && ls -A"
    before = root.out(look)
    said = {}
    for name, data in hostile.ARCHIVES.items():
        root.send(data, f"cat > {ARCHIVE}")
        done = root.run("/usr/bin/python3 -ISB /usr/lib/berth/app container fetch saved")
        said[name] = (done.status, done.err.strip()[-200:])
        assert root.out(look) == before, (name, said)
    print(shop.recipe, said)
    kept = ("/var/lib/containers", "/var/lib/docker", "/var/lib/berth/images", "/run/berth/state", "/proc", "/sys")
    stores = " -o ".join(f"-path {path}" for path in kept)
    assert root.out(f"find / \\( {stores} \\) -prune -o -name '{hostile.PLANTED}-*' -print") == ""
    assert not [line for line in machine.console if line.strip() == hostile.PLANTED], "written to the machine's console"
    after = len(machine.seen)
    root.out(f"cp /run/good {ARCHIVE} && rm -r /run/good {victim} && berthctl service restart saved")
    machine.wait(events.CONTAINER_HEALTHY, name="saved", after=after)


def test_a_killed_container_is_back(shop: Shop) -> None:
    root, machine = shop.root, shop.machine
    root.out(f"echo kept > {PAGES}/kept.txt")
    after, before = len(machine.seen), restarts(root)
    root.out("kill -9 $(cat /run/berth/containers/web/pid)")
    machine.wait(events.CONTAINER_EXITED, name="web", after=after)
    machine.wait(events.CONTAINER_HEALTHY, name="web", after=after)
    assert restarts(root) == before + 1
    assert machine.get(8080, "/kept.txt") == b"kept\n"


def test_an_unhealthy_container_is_started_again(shop: Shop) -> None:
    """The page is gone, the check says so, and the start puts it back."""
    root, machine = shop.root, shop.machine
    after = len(machine.seen)
    root.out(f"rm {PAGES}/index.html")
    machine.wait(events.CONTAINER_UNHEALTHY, name="web", after=after)
    machine.wait(events.CONTAINER_STARTED, name="web", after=after)
    machine.wait(events.CONTAINER_HEALTHY, name="web", after=after)
    assert machine.get(8080) == b"hello from the registry\n"


def test_no_secret_is_shown(shop: Shop) -> None:
    """Neither by what every user may ask, nor in an argument list, nor in a file that others may read."""
    root = shop.root
    verbs = ("status", "ps", "timeline", "events", "logs -n 2000")
    said = [root.out(f"berthctl {verb}{form}") for verb in verbs for form in ("", " --json")]
    said += [root.out("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '; true"), *shop.machine.console]
    for secret in (PASSWORD, TOKEN):
        assert not any(secret in text for text in said), secret
    search = f"find /etc /run -xdev -type f -exec grep -l -e {PASSWORD} -e {TOKEN} {{}} + 2>/dev/null; echo searched"
    assert root.out(f"su -s /bin/sh nobody -c {shlex.quote(search)}") == "searched\n"


def test_a_power_cut_without_the_registry_brings_all_of_it_back(shop: Shop) -> None:
    """Images and volumes lie on state: nobody has to be asked, and what was loaded needs its archive no more."""
    root, machine = shop.root, shop.machine
    root.out(f"echo kept > {PAGES}/kept.txt && rm {ARCHIVE} && sync")
    shop.registry.stop()
    machine.start()  # cuts the power first
    for name in ("web", "behind", "saved"):
        machine.wait(events.CONTAINER_HEALTHY, name=name, timeout=400)
    assert machine.get(8080) == b"hello from the registry\n"
    assert machine.get(8080, "/kept.txt") == b"kept\n"
    before = root.out("berthctl logs web --boot -1 -n 5000 --json")
    assert events.FORMAT in before.splitlines()[0]
    assert "berthctl" not in root.run("berthctl logs init --boot -1 -n 5").err
    running = {one["name"]: one["state"] for one in root.json("berthctl status --json")["containers"]}
    assert running == {"web": "running", "behind": "running", "saved": "running"}
    machine.power_off()
    assert re.search("state_unmounted", str(machine.seen[-1]))


def restarts(login: Login) -> int:
    """Return how often `web` was started again."""
    containers = login.json("berthctl status --json")["containers"]
    return int(next(one["restarts"] for one in containers if one["name"] == "web"))
