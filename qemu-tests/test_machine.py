"""A running machine, looked at from outside and over SSH: one machine serves all tests that leave it as it was."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from machine import Machine
from remote import Client, Done, Key, Login

from builder.emulate import silent
from builder.tools.call import Tools
from init.formats import events

pytestmark = [pytest.mark.qemu, pytest.mark.packages]

Built = Callable[..., dict[str, Path]]

STATUS = {
    "format", "version", "class", "hostname", "machine_id", "loader", "media", "state", "slots", "order", "health",
    "last_return", "config", "containers", "addresses", "memory", "watchdog", "update",
}  # fmt: skip
SSH = 22
LISTENS = "0A"  # state of a TCP socket in /proc/net/tcp
PAGES = "/var/lib/berth/volumes/pages"
SERVES = "cp /www/index.html /pages/; exec /bin/busybox httpd -f -v -p 80 -h /pages"
PASSWORD = "correct horse"
HASHED = (
    "$6$rounds=5000$ofthetests$8SHWrywhBp5ZTP8y8E1/BpRZXHET9S9ps52JC7AWtB2i3uk2vCTxHv2J6iy7SrrxDa/QPVtIsMpAi0Sg6wBGO."
)
CONFIG = """#cloud-config
hostname: box1
disable_root: false
ssh_authorized_keys: ["{berth}"]
users:
  - default
  - {{name: ann, ssh_authorized_keys: ["{ann}"], lock_passwd: false, hashed_passwd: "{hashed}"}}
  - {{name: root, ssh_authorized_keys: ["{root}"]}}
berth:
  health: {{settle: 3s}}
  containers:
    web:
      image: demo
      ports: ["8080:80"]
      required: true
      mem_limit: 48m
      cpus: 0.5
      pids_limit: 20
      volumes: ["pages:/pages"]
      entrypoint: [/bin/busybox, sh, -c, "{serves}"]
      healthcheck: {{http: "http://127.0.0.1:80/", interval: 2s, timeout: 20s, retries: 2}}
    clock:
      image: demo
      depends_on: {{web: {{condition: service_healthy}}}}
      entrypoint: [/bin/busybox, sh, -c, "while true; do echo tick; sleep 1; done"]
"""


@dataclass(frozen=True, kw_only=True)
class Running:
    """The machine, and who may log in."""

    machine: Machine
    client: Client
    keys: dict[str, Key]

    def login(self, user: str) -> Login:
        """Return a user's way in."""
        return Login(client=self.client, machine=self.machine, user=user, key=self.keys[user])


@pytest.fixture(scope="module")
def running(built: Built, tools: Tools, client: Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Return the machine with both containers healthy."""
    image = built("minimal", "--set", "build.kernel=cloud", "--out", "build/out/minimal-cloud")["iso"]
    keys = {name: client.key(f"{name}-of-the-machine") for name in ("berth", "ann", "root")}
    config = CONFIG.format(serves=SERVES, hashed=HASHED, **{name: key.public for name, key in keys.items()})
    folder = tmp_path_factory.mktemp("running")
    with Machine(image, tools=tools, folder=folder, config=config, direct=True, forwards=(8080, SSH)) as machine:
        machine.wait(events.CONTAINER_HEALTHY, name="web")
        machine.wait(events.CONTAINER_HEALTHY, name="clock")
        machine.wait(events.HEALTH_PASSED)
        yield Running(machine=machine, client=client, keys=keys)


def test_the_published_port_answers_from_outside(running: Running) -> None:
    assert b"<h1>Berth</h1>" in running.machine.get(8080)


def test_the_health_check_is_asked_inside_the_container(running: Running) -> None:
    said = running.login("berth").out("berthctl logs web")
    assert re.search(r"127\.0\.0\.1\]?:\d+: response:200", said), said


def test_who_needs_a_healthy_container_waits_for_it(running: Running) -> None:
    machine = running.machine
    healthy = machine.wait(events.CONTAINER_HEALTHY, name="web")
    started, first_line = (
        machine.wait(event, name="clock") for event in (events.CONTAINER_STARTED, events.CONTAINER_OUTPUT)
    )
    assert healthy["seq"] < started["seq"] < first_line["seq"]
    assert machine.wait(events.CONTAINER_STARTED, name="web")["t"] < healthy["t"] <= started["t"], "asked, not presumed"


def test_every_event_names_its_boot(running: Running) -> None:
    seen = running.machine.seen
    assert {one["boot_id"] for one in seen} == {seen[-1]["boot_id"]}
    assert re.fullmatch(r"[0-9a-f-]{36}", seen[-1]["boot_id"])
    assert [one["seq"] for one in seen] == list(range(1, len(seen) + 1))


def test_the_fingerprint_on_the_console_is_the_one_that_a_client_sees(running: Running) -> None:
    running.login("berth").out("true")
    known = running.machine.folder / "known_hosts"
    seen = running.client.tools.run("ssh-keygen", "-l", "-f", str(known)).decode().split()[1]
    assert seen in running.machine.wait_for_line("ssh host key: ")


def test_only_a_key_of_the_configuration_opens(running: Running) -> None:
    stranger = running.client.key("stranger")
    for user in ("berth", "root", "nobody"):
        done = running.client.run(running.machine, user, stranger, "true")
        assert (done.status, "Permission denied (publickey)" in done.err) == (255, True), (user, done)


def test_no_password_is_asked_for(running: Running) -> None:
    stranger = running.client.key("password-only")
    options = ("PubkeyAuthentication=no", "PreferredAuthentications=password,keyboard-interactive")
    done = running.client.run(running.machine, "berth", stranger, "true", options=options)
    assert (done.status, "Permission denied (publickey)" in done.err) == (255, True), done


def test_status_has_every_field_of_the_contract(running: Running) -> None:
    status = running.login("berth").json("berthctl status --json")
    assert set(status) >= STATUS
    assert (status["format"], status["class"], status["hostname"]) == ("berth.status/1", "minimal-amd64", "box1")
    assert re.fullmatch(r"[0-9a-f]{32}", status["machine_id"])
    assert status["state"]["kind"] == "memory"
    assert 0 < status["state"]["free"] < status["memory"]["total"] <= 512 << 20
    assert (status["health"]["state"], status["last_return"], status["loader"]) == ("healthy", None, 1)
    assert (status["config"]["source"], status["config"]["refused"]) == ("cidata", None)
    assert re.fullmatch(r"[0-9a-f]{64}", status["config"]["sha256"])
    assert status["addresses"]["eth0"][0] == "10.0.2.15/24"
    assert status["watchdog"]["software"] is False
    containers = {one["name"]: one for one in status["containers"]}
    assert set(containers) == {"clock", "web"}
    for one in containers.values():
        assert set(one) >= {"name", "state", "health", "restarts", "image"}
        assert (one["state"], one["health"], one["image"]) == ("running", "healthy", "demo")


def test_the_reading_verbs_show_what_runs(running: Running) -> None:
    berth = running.login("berth")
    screen = berth.out("berthctl status")
    assert "box1" in screen
    assert len(screen.splitlines()) <= 24
    services = {one["name"]: one for one in berth.json("berthctl ps --json")["services"]}
    assert (services["web"]["kind"], services["web"]["state"]) == ("container", "running")
    assert 0 < services["web"]["memory"] < 48 << 20
    assert "web" in berth.out("berthctl ps")
    assert "tick" in berth.out("berthctl logs clock")
    head, *rest = (json.loads(line) for line in berth.out("berthctl events --json").splitlines())
    assert head == {"format": events.FORMAT}
    assert rest[: len(running.machine.seen)] == running.machine.seen[: len(rest)]
    marks = berth.json("berthctl timeline --json")["marks"]
    assert [mark["event"] for mark in marks][:2] == [events.INIT_STARTED, events.CONFIG_APPLIED]
    assert "container.healthy web" in berth.out("berthctl timeline")


def test_a_password_of_the_config_opens_the_console(running: Running) -> None:
    """A wrong one does not, and neither opens SSH (see above). The shell is the user's own, and so is its end."""
    machine = running.machine
    machine.session.type("\n")  # the line may have scrolled away: asked again
    machine.type_at("login: ", "ann")
    machine.type_at("assword: ", "wrong")
    machine.wait_for_line("incorrect")
    machine.type_at("login: ", "ann")
    machine.type_at("assword: ", PASSWORD)
    machine.type_at("$ ", 'echo "$(id -un) is in $PWD, $((40 + 2))"; exit')
    machine.wait_for_line("ann is in /home/ann, 42")
    machine.type_at("login: ", "")


def connect(running: Running, user: str, *words: str, **environment: str) -> Done:
    """Run `berth connect` as on a computer with an SSH client, with the fingerprint that the console shows."""
    machine = running.machine
    shown = machine.wait_for_line("ssh host key: ").split()
    pinned = next(word for word in shown if word.startswith("SHA256:"))
    where = ("-p", str(machine.port(SSH)), "-i", str(running.keys[user].path))
    done = subprocess.run(
        [str(Path(sys.executable).with_name("berth")), "connect", f"{user}@127.0.0.1", *where,
         "--fingerprint", environment.pop("fingerprint", pinned), "-o", "BatchMode=yes", *words],
        env={"PATH": f"{running.client.on_path()}:/usr/bin:/bin", "HOME": str(machine.folder), **environment},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    machine.hear()
    return Done(status=done.returncode, out=done.stdout, err=done.stderr)


def test_berth_connect_runs_verbs_from_outside(running: Running) -> None:
    shown = connect(running, "berth", "status")
    assert (shown.status, "box1" in shown.out) == (0, True), shown
    assert json.loads(connect(running, "berth", "--json", "ps").out)["format"] == "berth.ps/1"
    assert connect(running, "berth", "logs", "clock", "-n", "1").out.count("tick") == 1
    assert connect(running, "berth", "logs", "nobody").status == 1
    assert connect(running, "berth", "logs", "-n", "many").status == 2


def test_berth_connect_takes_no_other_host_key(running: Running) -> None:
    other = connect(running, "berth", "--json", "status", fingerprint="SHA256:" + "A" * 43)
    assert (other.status, json.loads(other.out)["code"]) == (1, "connect"), other


def test_habits_are_answered_with_the_command_of_this_machine(running: Running) -> None:
    root = running.login("root")
    expected = {
        "systemctl restart web": "berthctl service restart web",
        "journalctl -u web -f": "berthctl logs web -f",
        "apt install vim": "add the package to the recipe",
        "passwd": "machine config",
        "dnf update": "read-only",
    }
    for typed, advice in expected.items():
        done = root.run(typed)
        assert (done.status, advice in done.err, done.err.count("\n")) == (127, True, 1), done
    assert root.out("sudo id -u") == "0\n"
    assert "berthctl" in running.login("berth").run("sudo reboot").err
    edited = root.run("vi /etc/motd < /dev/null")
    assert "made anew at each boot" in edited.err, edited


def test_what_lasts_is_on_the_screen(running: Running) -> None:
    berth = running.login("berth")
    assert berth.json("berthctl status --json")["state"]["kept"] == []
    assert "kept       nothing" in berth.out("berthctl status")


def test_events_are_followed_and_a_restart_is_told(running: Running) -> None:
    """`events -f` shows what happens from now on, `service` says what it did as JSON too."""
    berth = running.login("berth")
    seen = len(running.machine.seen)
    follow = "berthctl events -f --json | sed -n '/container.exited/{p;q}'"
    said = berth.out(f"({follow}) & sleep 2; berthctl service restart clock --json; wait")
    # A container that ends at once is told before the answer is printed.
    event, answer = sorted((json.loads(line) for line in said.splitlines()), key=lambda value: "format" in value)
    assert (answer["format"], answer["name"], answer["action"]) == ("berth.service/1", "clock", "restart")
    assert (event["event"], event["name"]) == ("container.exited", "clock")
    running.machine.wait(events.CONTAINER_HEALTHY, name="clock", after=seen)


def test_a_machine_in_memory_has_no_boot_before(running: Running) -> None:
    done = running.login("berth").run("berthctl logs --boot -1")
    assert (done.status, "boot -1" in done.err) == (1, True), done


def test_logs_are_followed(running: Running) -> None:
    assert running.login("berth").out("berthctl logs clock -n 0 -f | head -n 2").count("tick") == 2


def test_an_unknown_name_is_told_with_those_that_are_there(running: Running) -> None:
    done = running.login("berth").run("berthctl logs nobody")
    assert (done.status, "clock" in done.err, "web" in done.err) == (1, True, True), done


def test_who_is_in_no_group_may_read_and_no_more(running: Running) -> None:
    ann = running.login("ann")
    assert ann.json("berthctl status --json")["hostname"] == "box1"
    tried = ("poweroff", "reboot", "service restart web")
    done = ann.run("; ".join(f"berthctl {command} --json" for command in tried))
    assert done.status == 1, done
    assert [json.loads(line)["code"] for line in done.out.splitlines()] == ["permission"] * len(tried), done
    assert events.SHUTDOWN_BEGUN not in running.machine.names()


def test_the_system_cannot_be_written_and_etc_can(running: Running) -> None:
    root = running.login("root")
    fixed = ("/", "/usr", "/usr/bin", "/usr/lib/berth")
    done = root.run("touch " + " ".join(f"{folder}/written" for folder in fixed))
    assert (done.status, done.err.count("Read-only file system")) == (1, len(fixed)), done
    free = ("/etc", "/run", "/tmp", "/var", "/home", "/root", "/srv", "/opt", "/usr/local", "/mnt")
    names = " ".join(f"{folder}/written" for folder in free)
    root.out(f"touch {names} && rm {names}")
    assert running.login("berth").run("touch /etc/written").status == 1


def test_limits_are_the_kernels(running: Running) -> None:
    folder = "/sys/fs/cgroup/berth/web"
    said = running.login("berth").out(f"cat {folder}/memory.max {folder}/cpu.max {folder}/pids.max")
    assert said.splitlines() == [str(48 << 20), "50000 100000", "20"]


def test_nothing_listens_but_ssh(running: Running) -> None:
    """The published port is the kernel's to lead on; a socket holds its number and accepts nothing."""
    rows = running.login("berth").out("cat /proc/net/tcp /proc/net/tcp6").splitlines()
    sockets = [words for words in map(str.split, rows) if len(words) > 3]
    assert {int(words[1].rpartition(":")[2], 16) for words in sockets if words[3] == LISTENS} == {SSH}


def test_what_a_kernel_has_logged_is_read_from_its_memory(running: Running) -> None:
    """So the bench explains a machine that says nothing."""
    running.login("root").out("echo kept in the ring > /dev/kmsg")
    where, count, *lines = silent.last_words(running.machine.session, running.machine.guest.memory)
    assert re.fullmatch(r"processors: #0 [0-9a-f]{16} CPL=[03] HLT=[01]", where)
    assert re.fullmatch(r"the last of \d{3,} lines that its kernel has logged:", count)
    assert "kept in the ring" in lines


def test_pid_1_runs_from_the_root_once_the_machine_is_at_rest(running: Running) -> None:
    """The initramfs has given its memory back, but for the loader, which the kernel itself started."""
    root = running.login("root")
    root.out("until berthctl logs init | grep -q 'of the initramfs given back'; do sleep 0.5; done")
    maps = [line.split(None, 5) for line in root.out("cat /proc/1/maps").splitlines()]
    program = [words for words in maps if len(words) > 5 and "/python3" in words[5] and "x" in words[1]]
    assert program
    assert not any(words[5].endswith(" (deleted)") for words in maps if len(words) > 5 and "x" in words[1])
    assert int(root.out("sed -n 's/^Pss_Shmem: *//p' /proc/1/smaps_rollup").split()[0]) < 1024


def test_orphans_are_reaped(running: Running) -> None:
    """A process whose parent is gone becomes PID 1's, and is gone soon after its end."""
    orphan = "(sh -c 'echo $$; exec sleep 0.2 >/dev/null 2>&1' &); sleep 0.1"
    running.login("root").out(f"pid=$( {orphan}); while [ -e /proc/$pid ]; do sleep 0.1; done")


def test_a_killed_container_is_back(running: Running) -> None:
    """Its main process is killed with no warning: it runs again, counted, with its volume and its port."""
    root, machine = running.login("root"), running.machine
    before = restarts(root)
    root.out(f"echo kept > {PAGES}/kept.txt")
    after = len(machine.seen)
    root.out(f"kill -9 {container_init(root)}")
    machine.wait(events.CONTAINER_EXITED, name="web", after=after)
    assert machine.wait(events.CONTAINER_STARTED, name="web", after=after)["restarts"] == before + 1
    machine.wait(events.CONTAINER_HEALTHY, name="web", after=after)
    assert restarts(root) == before + 1
    assert b"<h1>Berth</h1>" in machine.get(8080)
    assert machine.get(8080, "/kept.txt") == b"kept\n"


def test_an_unhealthy_container_is_started_again_and_heals(running: Running) -> None:
    """The page is gone, the check says so, and the start puts it back."""
    root, machine = running.login("root"), running.machine
    after = len(machine.seen)
    root.out(f"rm {PAGES}/index.html")
    machine.wait(events.CONTAINER_UNHEALTHY, name="web", after=after)
    machine.wait(events.CONTAINER_STARTED, name="web", after=after)
    machine.wait(events.CONTAINER_HEALTHY, name="web", after=after)
    assert b"<h1>Berth</h1>" in machine.get(8080)


def test_a_service_is_stopped_and_started(running: Running) -> None:
    berth, machine = running.login("berth"), running.machine
    after = len(machine.seen)
    berth.out("berthctl service stop clock")
    machine.wait(events.CONTAINER_EXITED, name="clock", after=after)
    berth.out("berthctl service start clock")
    machine.wait(events.CONTAINER_HEALTHY, name="clock", after=after)


def restarts(login: Login) -> int:
    """Return how often `web` was started again."""
    containers = login.json("berthctl status --json")["containers"]
    return int(next(one["restarts"] for one in containers if one["name"] == "web"))


def container_init(login: Login) -> str:
    """Return the process id of `web`'s first process."""
    return login.out("cat /run/berth/containers/web/pid").strip()
