"""The whole running half as PID 1 of a namespace: boot, `berthctl`, power-off by reboot(2)."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from init.dialects.compile import compile_document
from init.formats import disk, events, machine
from init.formats.machine import Command, Container, Health, HealthCheck, Install, Machine, PowerState
from init.formats.release import Release
from init.pid1 import scripts

pytestmark = pytest.mark.long  # a real PID 1, in namespaces

REPOSITORY = Path(__file__).resolve().parents[2]
DRIVER = REPOSITORY / "tests/namespaces/conduct.py"
RELEASE = Release(name="t", version="1", machine_class="t-amd64", engine="crun", kernel="6", epoch=1)
# Stands in for the programs of `init` that PID 1 starts: containers are one echo and a sleep here.
PROGRAMS = """
import os, sys, time
word = sys.argv[1:]
if word[:2] == ["container", "run"]:
    print("hello from", word[2], flush=True)
    os.execv("/bin/sleep", ["sleep", "1000"])
if word[0] == "probe":
    sys.exit(0 if os.path.exists("/run/well") else 1)
if word[0] == "config":
    print(open("/usr/lib/berth/answer.json").read())
if word[0] == "install":
    os.execv("PYTHON", ["PYTHON", "-B", "REPOSITORY/tests/namespaces/install.py", "/root/box", *word[1:]])
""".replace("PYTHON", sys.executable).replace("REPOSITORY", str(REPOSITORY))


def cgroup_top() -> Path | None:
    for base in (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")):
        if (base / "cgroup.procs").exists():
            folder = base / f"berth-conduct-{os.getpid()}"
            with contextlib.suppress(OSError):
                folder.mkdir()
                return folder
    return None


class Guest:
    """A running PID 1 in a namespace."""

    def __init__(self, folder: Path, configured: Machine, answer: str | None) -> None:
        self.files = folder / "files"
        lib = self.files / "usr/lib/berth"
        (lib / "app").mkdir(parents=True)
        (lib / "app/__main__.py").write_text(PROGRAMS)
        (lib / "release.json").write_text(RELEASE.to_json())
        (lib / "machine.json").write_text(json.dumps(machine.encode(configured)))
        if answer is not None:
            (lib / "answer.json").write_text(answer)
            (self.files / "var/lib/berth/config").mkdir(parents=True)
            (self.files / "var/lib/berth/config/user-data").write_text("")
        self.told = folder / "events"
        self.told.write_text("")
        self.top = cgroup_top()
        command = [
            "unshare",
            "--user",
            "--map-root-user",
            "--pid",
            "--fork",
            "--mount",
            "--uts",
            "--net",
            "--mount-proc",
        ]
        self.process = subprocess.Popen(
            [
                *command,
                sys.executable,
                "-B",
                str(DRIVER),
                str(REPOSITORY),
                str(self.top or ""),
                str(self.files),
                str(self.told),
            ],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def events(self) -> list[dict]:
        return [json.loads(line) for line in self.told.read_text().splitlines() if line.endswith("}")]

    def until(self, event: str, name: str | None = None, *, seconds: float = 40) -> dict:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for value in self.events():
                if value["event"] == event and (name is None or value.get("name") == name):
                    return value
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        output = b"" if self.process.poll() is None else self.process.stdout.read()
        raise AssertionError(f"no {event} {name}: {self.events()} {output.decode()}")

    def until_count(self, event: str, count: int, *, seconds: float = 40) -> list[dict]:
        deadline = time.monotonic() + seconds
        while True:
            found = [value for value in self.events() if value["event"] == event]
            if len(found) >= count:
                return found
            assert time.monotonic() < deadline, self.events()
            time.sleep(0.02)

    @property
    def pid(self) -> str:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return children.read_text().split()[0]

    def berthctl(self, *words: str) -> subprocess.CompletedProcess:
        script = "import os,sys; os.chroot('.'); from init.berthctl.main import main; sys.exit(main(sys.argv[1:]))"
        # Into its namespaces, and into its root: PID 1 has chrooted itself.
        return subprocess.run(
            ["nsenter", "--target", self.pid, "--user", "--mount", "--pid", "--preserve-credentials",
             "sh", "-c", f'cd /proc/{1}/root && exec "$@"', "sh", sys.executable, "-Bc", script, *words],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            check=False,
            timeout=30,
        )  # fmt: skip

    def ask(self, *words: str) -> dict:
        done = self.berthctl(*words, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def close(self) -> None:
        if self.process.poll() is None:
            with contextlib.suppress(OSError, IndexError):
                os.kill(int(self.pid), signal.SIGKILL)
        self.process.communicate(timeout=30)
        if self.top:
            for folder, names, _ in os.walk(self.top, topdown=False):
                for name in names:
                    with contextlib.suppress(OSError):
                        (Path(folder) / name).rmdir()
            with contextlib.suppress(OSError):
                self.top.rmdir()


@pytest.fixture
def boot(tmp_path):
    guests: list[Guest] = []

    def start(configured: Machine, answer: str | None = None) -> Guest:
        guests.append(Guest(tmp_path, configured, answer))
        return guests[-1]

    yield start
    for guest in guests:
        guest.close()


WEB = Container(name="web", image="archive:/demo.tar", required=True)
KEY = "ssh_authorized_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB8Ht8Z3j6yDWPBHQtOp/R9rjWvfMYo3MSA/K6q8D86r]\n"


def test_boot_look_and_power_off(boot):
    guest = boot(Machine(hostname="box1", containers=(WEB,), health=Health(settle=0.5, within=30)))
    guest.until(events.CONFIG_APPLIED)
    guest.until(events.CONTAINER_HEALTHY, "web")
    assert guest.until(events.CONTAINER_OUTPUT, "web")["t"] >= guest.until(events.CONTAINER_STARTED, "web")["t"]
    status = guest.ask("status")
    assert status["format"] == "berth.status/1"
    assert status["hostname"] == "box1"
    assert status["media"] == "iso"
    assert [row["name"] for row in status["containers"]] == ["web"]
    assert status["containers"][0]["health"] == "healthy"
    screen = guest.berthctl("status").stdout.decode().splitlines()
    assert 5 < len(screen) <= 24
    assert "web" in guest.berthctl("ps").stdout.decode()
    assert "hello from web" in guest.berthctl("logs", "web").stdout.decode()
    head, *lines = map(json.loads, guest.berthctl("logs", "web", "--json").stdout.splitlines())
    assert head == {"format": events.FORMAT}
    assert {"time", "t", "name", "text"} == set(lines[0])
    assert "container.healthy" in guest.berthctl("events").stdout.decode()
    assert guest.ask("timeline")["marks"]

    refused = guest.berthctl("service", "stop", "nobody")
    assert refused.returncode == 1
    assert "there is no service nobody" in refused.stderr.decode()

    guest.ask("service", "restart", "web")
    before = guest.until(events.CONTAINER_EXITED, "web")
    assert before["status"] == -15
    guest.until_count(events.CONTAINER_STARTED, 2)
    guest.until_count(events.CONTAINER_OUTPUT, 2)  # once a start

    assert b'"accepted": true' in guest.berthctl("poweroff", "--json").stdout  # its end may be the SIGKILL to all
    guest.process.wait(timeout=30)
    names = [value["event"] for value in guest.events()]
    assert names[-2:] == [events.CONTAINER_EXITED, events.SHUTDOWN_CLEAN]
    assert events.SHUTDOWN_BEGUN in names
    assert events.BOOT_GOOD not in names  # there is no boot record
    # reboot(2) in a pid namespace: its init is killed, by SIGINT for a power-off
    assert guest.process.returncode in (-signal.SIGINT, 128 + signal.SIGINT)


def test_a_killed_container_is_back_within_a_second_and_probed(boot):
    check = HealthCheck(test=("true",), interval=0.2, timeout=2, retries=5)
    web = Container(name="web", image="archive:/demo.tar", required=True, health=check)
    guest = boot(Machine(containers=(web,), bootcmd=(Command(argv=("touch", "/run/well")),), health=Health(settle=0.2)))
    guest.until(events.CONTAINER_HEALTHY, "web")
    processes = guest.ask("ps")["services"]
    pid = next(row["pid"] for row in processes if row["name"] == "web")
    done = subprocess.run(
        [
            "nsenter",
            "--target",
            guest.pid,
            "--user",
            "--pid",
            "--mount",
            "--preserve-credentials",
            "kill",
            "-9",
            str(pid),
        ],
        check=False,
    )
    assert done.returncode == 0
    exited = guest.until(events.CONTAINER_EXITED, "web")
    assert exited["status"] == -9
    starts = guest.until_count(events.CONTAINER_STARTED, 2)
    assert starts[1]["restarts"] == 1
    assert starts[1]["t"] - exited["t"] >= 0.2
    os.kill(int(guest.pid), signal.SIGTERM)  # as busybox's reboot does
    guest.process.wait(timeout=30)
    assert guest.process.returncode in (-signal.SIGHUP, 128 + signal.SIGHUP)


def test_a_config_child_that_speaks_nonsense_never_holds_up_the_boot(boot):
    guest = boot(Machine(hostname="default", containers=(WEB,)), answer="no JSON")
    refused = guest.until(events.CONFIG_REFUSED)
    assert refused["in_force"] == "recipe"
    guest.until(events.CONTAINER_STARTED, "web")
    assert guest.ask("status")["hostname"] == "default"


def test_a_seed_of_the_configuration_goes_to_the_kernel_before_bootcmd(boot, tmp_path):
    pool = tmp_path / "files/root/urandom"
    pool.parent.mkdir(parents=True)
    pool.write_bytes(bytes(16))
    text = b"""#cloud-config
random_seed:
  data: c2VlZHMgb2YgdGhl
  encoding: b64
  file: /var/lib/seed
  command: [sh, -c, 'cat "$RANDOM_SEED_FILE" > /run/pool']
"""
    configured = compile_document(text, file="user-data").machine
    guest = boot(replace(configured, containers=(WEB,), health=Health(settle=0.2)))
    guest.until(events.CONTAINER_STARTED, "web")
    root = Path(f"/proc/{guest.pid}/root")
    assert (root / "run/pool").read_bytes() == b"seeds of the".ljust(16, b"\0")
    assert not (root / "var/lib/seed").exists()  # as its warning says: the kernel gets it whatever `file` is


@pytest.mark.parametrize(("line", "status", "way"), [("test -e /run/well", "0", "poweroff"), ("exit 3", "3", "halt")])
def test_power_state_comes_where_its_condition_holds(boot, line, status, way):
    wanted = PowerState(mode=way, condition=Command(argv=(line,), shell=True))
    touch = (Command(argv=("touch", "/run/well")),)
    guest = boot(Machine(containers=(WEB,), bootcmd=touch, power_state=wanted, health=Health(settle=0.2)))
    guest.until(events.SERVICE_READY, scripts.CONDITION)
    if status == "0":
        assert guest.until(events.SHUTDOWN_BEGUN)["why"] == "power_state of the config"
        guest.process.wait(timeout=30)
        assert guest.process.returncode in (-signal.SIGINT, 128 + signal.SIGINT)
        return
    assert (Path(f"/proc/{guest.pid}/root") / scripts.CONDITION_STATUS[1:]).read_text() == f"{status}\n"
    assert not [reason for reason in guest.ask("status")["health"]["reasons"] if scripts.CONDITION in reason]
    said = guest.berthctl("logs", "init").stdout.decode()
    assert "its condition ended with status 3, so the machine stays up" in said
    guest.berthctl("poweroff")
    assert guest.until(events.SHUTDOWN_BEGUN)["why"] != "power_state of the config"


@pytest.mark.parametrize("key", ["", KEY])
def test_a_config_that_lets_nobody_in_is_refused_before_a_byte_is_written(boot, tmp_path, key):
    """The real installer as PID 1's child, with an empty disk that it may have: a file whose every write would show."""
    box = tmp_path / "files/root/box"
    folder = box / "sys/class/block/vda"
    folder.mkdir(parents=True)
    (box / "dev").mkdir()
    size = disk.smallest_mib(root_mib=1) * disk.MIB
    for name, text in {"size": size // 512, "serial": "S1", "removable": 0, "ro": 0}.items():
        (folder / name).write_text(f"{text}\n")
    (tmp_path / "files/usr/lib/berth").mkdir(parents=True)
    (tmp_path / "files/usr/lib/berth/machine.yaml").write_text(f"#berth\nhostname: box1\n{key}")
    make = (Command(argv=("truncate", "-s", str(size), "/root/box/dev/vda")),)
    guest = boot(Machine(bootcmd=make, install=Install(disk="only-empty", then="stay"), health=Health(settle=0.2)))
    if key:  # with a way in that very disk is taken, so it is nothing else that holds it back
        assert guest.until(events.INSTALL_PLANNED)["serial"] == "S1"
    refused = guest.until(events.INSTALL_REFUSED)
    status = Path(f"/proc/{guest.pid}/root/root/box/dev/vda").stat()
    assert status.st_size == size
    assert (status.st_blocks == 0) is (not key), "what was never written takes no place"
    assert ("gives nobody a way in" in refused["reason"]) is (not key), refused
    assert (events.INSTALL_PLANNED in [each["event"] for each in guest.events()]) is bool(key)


def test_the_config_childs_machine_is_in_force(boot):
    configured = machine.encode(Machine(hostname="given", containers=(WEB,)))
    answer = {"machine": configured, "source": "cidata:/dev/x", "sha256": "00", "diagnostics": [], "refused": None}
    guest = boot(Machine(hostname="default"), answer=json.dumps(answer))
    applied = guest.until(events.CONFIG_APPLIED)
    assert applied["source"] == "cidata:/dev/x"
    guest.until(events.CONTAINER_STARTED, "web")
    assert guest.ask("status")["hostname"] == "given"
