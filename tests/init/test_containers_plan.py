"""From declared containers to services, command lines and files: pure, compared whole."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from init.containers import docker, engine_files, order, plan, podman
from init.containers.addresses import numbers, of_container
from init.containers.baked import Baked, BakedImage
from init.formats.machine import Container, HealthCheck, Machine, Port, Registry, Volume
from init.formats.release import Release
from init.formats.service import Limits, Readiness, Restart, Service

DEMO = BakedImage(id="f" * 64, names=("localhost/demo:latest",), layers=("a" * 64,), diff_ids=("a" * 64,), sizes=(1,))
BAKED = Baked(images=(DEMO,))
WEB = Container(
    name="web",
    image="demo",
    ports=(Port(host=8080, container=80), Port(host=53, container=53, protocol="udp", address="127.0.0.1")),
    environment=(("TOKEN", "s3cret"), ("LD_PRELOAD", "/x.so")),
    volumes=(Volume(source="data", target="/srv", read_only=True), Volume(source="", target="/scratch")),
    health=HealthCheck(http="http://127.0.0.1:80/", interval=5.0, timeout=2.0),
    memory=64 << 20,
    cpus=0.5,
    pids=100,
    required=True,
    stop_signal="SIGQUIT",
)
APP = "/usr/lib/berth/app"
PROGRAM = ("/usr/bin/python3", "-ISB", APP, "container")


def release(engine: str) -> Release:
    return Release(name="r", version="1", machine_class="c", engine=engine, kernel="6", epoch=0)


def services(engine: str, *containers: Container) -> dict[str, Service]:
    found = plan.services(Machine(containers=containers), release(engine), BAKED)
    return {service.name: service for service in found}


def test_no_engine_and_no_containers_are_no_services() -> None:
    assert services("none", WEB) == {}
    assert services("crun") == {}
    assert services("podman") == {}
    assert list(services("docker")) == ["containerd", "docker"]


@pytest.mark.parametrize("engine", ["crun", "podman", "docker"])
def test_a_container_may_wait_for_another_s_health(engine: str) -> None:
    proxy = Container(name="proxy", image="demo", depends_on=("web", "db"), depends_healthy=("db",))
    made = services(engine, replace(WEB, name="db"), WEB, proxy)["proxy"]
    assert made.after[:2] == ("web", "db")
    assert made.after_healthy == ("db",)


def test_crun() -> None:
    assert services("crun", WEB)["web"] == Service(
        name="web",
        argv=(*PROGRAM, "run", "web"),
        cleanup=((*PROGRAM, "unpublish", "web"),),
        readiness=Readiness.STARTED,
        restart=Restart.ALWAYS,
        stop_signal=int(signal.SIGQUIT),
        limits=Limits(memory=64 << 20, cpus=0.5, pids=100),
        probe=plan.Probe(
            argv=("/usr/bin/python3", "-ISB", APP, "probe", "http", "web", "2.0", "http://127.0.0.1:80/"),
            interval=5.0,
            timeout=7.0,  # two for the answer, five for the program to start
            retries=3,
            start_period=0.0,
            waiting=(
                *("/usr/bin/python3", "-ISB", APP, "probe", "wait", "5.0"),
                *("http", "web", "2.0", "http://127.0.0.1:80/"),
            ),
            patience=5.0,
        ),
        is_container=True,
        image="demo",
        required=True,
    )


def test_podman() -> None:
    service = services("podman", WEB)["web"]
    folder = "/run/berth/containers/web"
    assert service.argv == (
        "/usr/bin/podman", "run", "--detach", "--replace", "--name=web", "--restart=no", "--log-driver=passthrough",
        "--cgroup-parent=/berth/web", f"--conmon-pidfile={folder}/conmon.pid", f"--pidfile={folder}/pid",
        f"--cidfile={folder}/cid", "--http-proxy=false", "--no-healthcheck", "--stop-timeout=10",
        "--network=berth:ip=10.89.0.2,ip=fd62:6572:7468::2,mac=02:42:0a:59:00:02", "--publish=8080:80/tcp",
        "--publish=127.0.0.1:53:53/udp", "--volume=/etc/resolv.conf:/etc/resolv.conf:ro", "--env=TOKEN",
        "--env=LD_PRELOAD=/x.so", "--hostname=web", "--stop-signal=SIGQUIT", "--init", "--memory=67108864b",
        "--memory-swap=67108864b", "--cpus=0.5", "--pids-limit=100", "--volume=/var/lib/berth/volumes/data:/srv:ro",
        "--tmpfs=/scratch", "--pull=never", "localhost/demo:latest",
    )  # fmt: skip
    assert service.environment == (("TOKEN", "s3cret"),)
    assert service.prepare == (("/usr/bin/busybox", "mkdir", "-p", folder, "/var/lib/berth/volumes/data"),)
    assert service.stop is not None
    assert service.stop[-2:] == (folder, "3")
    assert service.stop_tells
    assert service.pid_file == f"{folder}/conmon.pid"
    assert service.delegate
    assert service.limits == Limits()


def test_docker() -> None:
    found = services("docker", WEB)
    assert found["web"].argv == (*PROGRAM, "run", "web")
    assert found["web"].after == ("docker",)
    assert found["docker"].after == ("containerd",)
    assert found["docker"].readiness is Readiness.NOTIFY
    assert found["docker"].prepare == ((*PROGRAM, "link-images"),)


def test_dockers_document() -> None:
    wanted = order.Order(container=WEB, number=0, numbers=(("web", 0), ("db", 1)))
    body = docker.document(wanted, "localhost/demo:latest", own_network=True)
    assert body["Image"] == "localhost/demo:latest"
    assert body["Healthcheck"] == {"Test": ["NONE"]}
    assert body["NetworkingConfig"]["EndpointsConfig"]["berth"]["IPAMConfig"] == {"IPv4Address": "10.89.0.2"}
    host = body["HostConfig"]
    assert host["PortBindings"] == {
        "80/tcp": [{"HostIp": "", "HostPort": "8080"}],
        "53/udp": [{"HostIp": "127.0.0.1", "HostPort": "53"}],
    }
    assert host["Binds"] == ["/var/lib/berth/volumes/data:/srv:ro"]
    assert host["RestartPolicy"] == {"Name": "no"}
    assert (host["Memory"], host["NanoCpus"], host["PidsLimit"]) == (64 << 20, 500_000_000, 100)
    assert host["CgroupParent"] == "/berth/web"
    assert "Entrypoint" not in body


@pytest.mark.parametrize("engine", ["crun", "podman", "docker"])
def test_only_a_registry_waits_for_the_network(engine: str) -> None:
    baked, archived, remote = (
        replace(WEB, name=name, image=image, depends_on=("db",))
        for name, image in (("a", "demo"), ("b", "archive:/srv/x.tar"), ("c", "registry.example:5000/x:1"))
    )
    found = services(engine, baked, archived, remote)
    waits = {name for name in "abc" if "network" in found[name].after}
    assert waits == {"c"}
    assert all("db" in found[name].after for name in "abc")
    assert found["c"].start_timeout > found["a"].start_timeout


@pytest.mark.parametrize("engine", ["crun", "podman", "docker"])
@pytest.mark.parametrize(
    ("word", "restart"),
    [
        ("no", Restart.NO),
        ("on-failure", Restart.ON_FAILURE),
        ("always", Restart.ALWAYS),
        ("unless-stopped", Restart.ALWAYS),
    ],
)
def test_restarts_are_pid_1s_own(engine: str, word: str, restart: Restart) -> None:
    service = services(engine, replace(WEB, restart=word, restart_limit=4))["web"]
    assert (service.restart, service.restart_limit) == (restart, 4)
    assert "--restart=always" not in service.argv


@pytest.mark.parametrize("engine", ["crun", "podman", "docker"])
def test_without_a_health_check_it_has_to_last(engine: str) -> None:
    service = services(engine, replace(WEB, health=None))["web"]
    # docker's process is a client, which tells when there is something to last
    assert service.readiness is (Readiness.NOTIFY if engine == "docker" else Readiness.SETTLED)
    assert service.probe is None


@pytest.mark.parametrize(
    ("health", "expected"),
    [
        (HealthCheck(tcp="127.0.0.1:5432"), ("tcp", "web", "30.0", "127.0.0.1:5432")),
        (HealthCheck(test=("pg_isready", "-q"), timeout=1.5), ("exec", "web", "1.5", "podman", "pg_isready", "-q")),
    ],
)
def test_probes(health: HealthCheck, expected: tuple[str, ...]) -> None:
    probe = services("podman", replace(WEB, health=health))["web"].probe
    assert probe is not None
    assert probe.argv[4:] == expected
    assert bool(probe.waiting) == (health.tcp is not None)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        (None, 15),
        ("SIGTERM", 15),
        ("HUP", 1),
        ("sigusr1", 10),
        ("9", 9),
        ("RTMIN+3", 37),
        ("SIGRTMIN+3", 37),
        ("NONSENSE", 15),
        ("0", 15),
    ],
)
def test_signals(name: str | None, number: int) -> None:
    assert plan.signal_number(name) == number


@pytest.mark.parametrize("engine", ["crun", "podman", "docker"])
@given(secret=st.from_regex(r"<[0-9a-f '$&]{8,40}>", fullmatch=True))
def test_no_secret_can_be_read_by_others(engine: str, secret: str) -> None:
    container = replace(WEB, environment=(("PASSWORD", secret),))
    registry = Registry(host="r.example", username="u", password=secret)
    machine = Machine(containers=(container,), registries=(registry,))
    for service in plan.services(machine, release(engine), BAKED):
        probe = service.probe.argv if service.probe else ()
        for argv in (service.argv, *service.prepare, *service.cleanup, service.stop or (), probe):
            assert not any(secret in word for word in argv)
    for path, data, mode in engine_files.engine_files(machine, release(engine)):
        readable = mode & 0o077
        assert not (readable and json.dumps(secret).strip('"') in data.decode()), path


def files(machine: Machine, engine: str) -> dict[str, tuple[bytes, int]]:
    return {path: (data, mode) for path, data, mode in engine_files.engine_files(machine, release(engine))}


def test_the_order_tells_the_start_program_everything() -> None:
    machine = Machine(containers=(WEB, replace(WEB, name="db")), environment=(("HTTPS_PROXY", "http://p:3128"),))
    data, mode = files(machine, "crun")["/run/berth/containers/db.json"]
    assert mode == 0o600
    found = order.decode(data)
    assert (found.container, found.number, found.engine) == (machine.containers[1], 1, "crun")
    assert found.numbers == (("web", 0), ("db", 1))
    assert (found.images, found.environment) == (("demo", "demo"), machine.environment)


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{}", b'{"container": 1, "index": 0}', b"\xff", b'{"container": {"name": "x"}}']
)
def test_a_damaged_order_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - JSON's own errors are of this kind, too
        order.decode(text)


def test_podmans_files() -> None:
    registries = (
        Registry(host="r.example:5000", username="u", password="p", ca="-----BEGIN"),
        Registry(host="old.example", insecure=True),
    )
    found = files(Machine(registries=registries), "podman")
    assert 'additionalimagestores = ["/usr/lib/berth/images"]' in found["/etc/containers/storage.conf"][0].decode()
    assert found["/etc/containers/certs.d/r.example:5000/ca.crt"][0] == b"-----BEGIN"
    auth = json.loads(found["/run/containers/0/auth.json"][0])
    assert base64.b64decode(auth["auths"]["r.example:5000"]["auth"]) == b"u:p"
    assert found["/run/containers/0/auth.json"][1] == 0o600
    assert 'location = "old.example"\ninsecure = true' in found["/etc/containers/registries.conf"][0].decode()
    network = json.loads(found["/var/lib/containers/networks/berth.json"][0])
    assert network["subnets"][0] == {"subnet": "10.89.0.0/16", "gateway": "10.89.0.1"}
    assert not network["dns_enabled"]


def test_dockers_files() -> None:
    found = files(Machine(registries=(Registry(host="old.example", insecure=True, ca="PEM"),)), "docker")
    daemon: dict[str, Any] = json.loads(found["/etc/docker/daemon.json"][0])
    assert daemon["insecure-registries"] == ["old.example"]
    assert daemon["userland-proxy"] is False
    assert found["/etc/docker/certs.d/old.example/ca.crt"][0] == b"PEM"


def test_containers_find_each_other_by_name_in_podman() -> None:
    machine = Machine(containers=(WEB, replace(WEB, name="db"), replace(WEB, name="h", network="host")))
    argv = podman.run(machine, 0, BAKED)
    assert f"--add-host=db:{of_container(1).ipv4}" in argv
    assert not [word for word in argv if word.startswith("--add-host=h:")]
    host = podman.run(machine, 2, BAKED)
    assert "--network=host" in host
    assert not [word for word in host if word.startswith(("--publish", "--hostname"))]


def test_a_number_stays_with_its_name() -> None:
    assert numbers(("web", "db")) == {"web": 0, "db": 1}
    later = numbers(("cache", "db", "web"), {"web": 0, "db": 1})
    assert later == {"web": 0, "db": 1, "cache": 2}
    assert numbers(("new", "web"), later) == {**later, "new": 3}, "a name that went keeps others off its address"


@pytest.mark.parametrize("engine", ["crun", "podman"])
def test_what_runs_already_gets_the_same_address_and_is_named_by_it(engine: str) -> None:
    machine = Machine(containers=(replace(WEB, name="cache"), WEB))
    given = numbers(("cache", "web"), {"web": 0})
    known = {path: data for path, data, _ in engine_files.engine_files(machine, release(engine), given)}
    found = order.decode(known[order.path_of("web")])
    assert (found.number, found.numbers) == (0, (("cache", 1), ("web", 0)))
    argv = {service.name: service.argv for service in plan.services(machine, release(engine), BAKED, given)}
    if engine == "podman":
        assert any(f"ip={of_container(0).ipv4}," in word for word in argv["web"])
        assert f"--add-host=web:{of_container(0).ipv4}" in argv["cache"]


@given(st.integers(0, 60_000), st.integers(0, 60_000))
def test_addresses_are_as_many_as_containers(one: int, other: int) -> None:
    first, second = of_container(one), of_container(other)
    assert (first == second) == (one == other)
    assert (first.mac == second.mac) == (one == other)


def test_podmans_stop_ends_as_the_container_did(tmp_path: Path) -> None:
    """The script itself, with this machine's shell and a process for a container."""
    exits = tmp_path / "exits"
    exits.mkdir()
    (tmp_path / "cid").write_text("abc")
    with subprocess.Popen(("sleep", "60")) as container:
        (tmp_path / "pid").write_text(f"{container.pid}\n")
        script = podman.STOP.replace("/run/libpod/exits", str(exits))
        with subprocess.Popen(("sh", "-c", script, tmp_path, "15")) as stop:
            assert container.wait(30) == -15
            assert stop.poll() is None
            (exits / "abc").write_text("143")
            assert stop.wait(30) == 143
    (tmp_path / "pid").unlink()
    done = subprocess.run(("sh", "-c", podman.STOP, tmp_path, "15"), check=False, capture_output=True, timeout=30)
    assert done.returncode != 0
