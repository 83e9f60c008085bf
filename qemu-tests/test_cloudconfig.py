"""Every key of cloud-init's language that is acted on, seen on a machine: one disk, booted twice by its own config.

The first boot ends with what `power_state` wants, the second stays: what is done once per instance has been done once.
At the end another disk is put in, with a configuration that nobody should read.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from machine import Machine
from remote import PATIENCE, Client, Key, Login

from builder.emulate import nocloud
from builder.emulate.command import Drive, Guest
from builder.tools.call import Tools
from init.formats import events

pytestmark = [pytest.mark.qemu, pytest.mark.packages]

Built = Callable[..., dict[str, Path]]

SSH = 22
PASSWORD = "correct horse"
CONFIG = """#cloud-config
fqdn: box7.example.org
manage_etc_hosts: localhost
timezone: Europe/Berlin
disable_root: false
ssh_pwauth: true
ssh_authorized_keys: ["{berth}"]
groups: [ops, {{dev: [ann]}}]
users:
  - default
  - name: ann
    uid: 1200
    gecos: Ann Operator
    homedir: /srv/ann
    primary_group: ops
    groups: [berth]
    sudo: ALL=(ALL) NOPASSWD:ALL
    lock_passwd: false
    hashed_passwd: {hash}
    ssh_authorized_keys: ["{ann}"]
  - {{name: bob, shell: /bin/sh, hashed_passwd: {hash}}}
  - {{name: carl}}
  - {{name: eve, passwd: {hash}, no_create_home: true, no_user_group: true}}
  - {{name: robot, system: true, shell: /usr/sbin/nologin}}
  - {{name: root, ssh_authorized_keys: ["{root}"]}}
chpasswd: {{users: [{{name: carl, password: {hash}}}]}}
ssh_keys:
  ed25519_private: |
{host_key}
  ed25519_public: {host_public}
bootcmd:
  - [sh, -c, 'echo "$INSTANCE_ID" >> /var/boots; test -e /etc/plain || echo before >> /var/early']
write_files:
  - {{path: /etc/plain, content: "text\\n"}}
  - {{path: /srv/deep/er/b64, encoding: b64, content: dGV4dAo=, owner: "ann:ops", permissions: '0640'}}
  - {{path: /opt/gz, encoding: gz, content: !!binary {gz}}}
  - {{path: /opt/gzb64, encoding: gz+b64, content: {gz}}}
  - {{path: /etc/hosts, append: true, content: "192.0.2.7 seven\\n"}}
  - {{path: /var/grows, append: true, content: "one\\n"}}
  - {{path: /run/late, defer: true, owner: ann, content: "late\\n"}}
runcmd:
  - echo "ran as $(id -un)" >> /var/ran
  - [sh, -c, 'echo "$1" >> /var/ran', sh, "two words"]
mounts:
  - [LABEL=goods, /mnt/goods, ext4, "defaults,nofail,noatime,x-systemd.requires=cloud-init.service", "0", "2"]
swap: {{filename: /var/swapfile, size: 32M}}
growpart: {{mode: auto, devices: ["/"]}}
resize_rootfs: true
ntp: {{servers: [10.0.2.2]}}
ca_certs:
  remove_defaults: true
  trusted:
    - |
{certificate}
random_seed: {{data: c2VlZHM=, encoding: b64}}
phone_home: {{url: "http://10.0.2.2:{port}/$INSTANCE_ID", post: all, tries: 20}}
final_message: "the last word, by $DATASOURCE"
power_state: {{mode: reboot, message: the machine starts again}}
berth:
  health: {{settle: 3s}}
  sysctls: {{vm.swappiness: 7}}
  modules: [dummy numdummies=2]
  environment: {{PROXY_OF_ALL: 'some "where" else'}}
  containers:
    web: null
    reader:
      image: demo
      volumes: ["/mnt/goods:/goods:ro"]
      entrypoint: [/bin/busybox, sh, -c, "cat /goods/label; sleep 100000"]
"""
BOMB = "#cloud-config\na0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
BESIDE = {"network-config": b"#" * 100_000_000, "meta-data": b"instance-id: a\0b\n"}
HOSTILE = {
    "bytes": (b"#cloud-config\nhostname: \xc3(\n", "a byte that is not UTF-8"),
    "climbs": (b"#cloud-config\nwrite_files: [{path: /etc/../../etc/x}]\n", "a path without `.` and `..` parts"),
    "deep": (b"#cloud-config\na: " + b"[" * 100_000, "nested"),
    "gzip": (gzip.compress(b"#cloud-config\n" + bytes(64 << 20)), "unpacks to more than 2 MiB"),
    "nul": (b"#cloud-config\nhostname: a\0b\n", "a NUL character"),
}


@dataclass
class Phone:
    """A server that takes reports."""

    calls: list[tuple[str, dict[str, list[str]]]] = field(default_factory=list)
    port: int = 0


@dataclass(frozen=True, kw_only=True)
class Running:
    """The machine after its second boot, and who may log in."""

    machine: Machine
    client: Client
    keys: dict[str, Key]
    phone: Phone
    host_public: str
    instance_id: str
    config: str

    def login(self, user: str) -> Login:
        """Return a user's way in."""
        return Login(client=self.client, machine=self.machine, user=user, key=self.keys[user])

    @property
    def root(self) -> Login:
        """Return root's way in."""
        return self.login("root")


@pytest.fixture(scope="module")
def phone() -> Iterator[Phone]:
    made = Phone()

    class Takes(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            made.calls.append((self.path, parse_qs(body)))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Takes)
    made.port = server.server_port
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def running(
    built: Built, tools: Tools, client: Client, phone: Phone, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("cloud-config")
    raw = built("minimal", "--set", "build.kernel=cloud", "--out", "build/out/minimal-cloud")["raw"]
    keys = {name: client.key(f"{name}-of-cloud-config") for name in ("berth", "ann", "root")}
    host = client.key("host-of-cloud-config")
    config = CONFIG.format(
        hash=tools.run("openssl", "passwd", "-6", "-salt", "saltsalt", PASSWORD).decode().strip(),
        host_key=indented(host.path.read_text()),
        host_public=host.public,
        gz=base64.b64encode(gzip.compress(b"packed\n")).decode(),
        certificate=indented(certificate(tools, folder)),
        port=phone.port,
        **{name: key.public for name, key in keys.items()},
    )
    options = {"disk": folder / "disk.qcow2", "config": config, "forwards": (SSH,)}
    goods = goods_disk(tools, folder)

    def with_goods(guest: Guest) -> Guest:
        return replace(guest, drives=(*guest.drives, Drive(path=goods)))

    with Machine(raw, tools=tools, folder=folder, changed=with_goods, **options) as machine:
        machine.wait_for_line("the machine starts again")
        machine.wait(events.SHUTDOWN_CLEAN)
        after = len(machine.seen)
        machine.wait(events.BOOT_GOOD) if events.BOOT_GOOD not in machine.names() else None
        machine.wait(events.CONTAINER_HEALTHY, name="reader", after=after)
        machine.wait(events.HEALTH_PASSED, after=after)
        yield Running(
            machine=machine, client=client, keys=keys, phone=phone, host_public=host.public,
            instance_id=nocloud.instance_id(config.encode()), config=config,
        )  # fmt: skip


def indented(text: str) -> str:
    return "\n".join(f"      {line}" for line in text.strip().splitlines())


def certificate(tools: Tools, folder: Path) -> str:
    options = ("-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj", "/CN=An authority of its own",
               "-addext", "basicConstraints=critical,CA:TRUE")  # fmt: skip
    tools.run(
        "openssl", "req", "-x509", *options, "-keyout", str(folder / "ca.key"), "-out", str(folder / "ca.pem"),
        "-config", "/dev/null",
    )  # fmt: skip
    return (folder / "ca.pem").read_text()


def goods_disk(tools: Tools, folder: Path) -> Path:
    """Return a disk with a file system of somebody else's."""
    inside = folder / "goods"
    inside.mkdir()
    (inside / "label").write_text("these are the goods\n")
    image = folder / "goods.img"
    tools.run("mkfs.ext4", "-q", "-L", "goods", "-d", str(inside), str(image), "8M")
    return image


def test_names(running: Running) -> None:
    assert running.root.out("hostname; cat /etc/hostname").split() == ["box7", "box7"]
    hosts = running.root.out("cat /etc/hosts").splitlines()
    assert "127.0.1.1 box7.example.org box7" in hosts
    assert hosts[-1] == "192.0.2.7 seven", "appended once in each boot, for /etc is new each time"


def test_users_and_groups(running: Running) -> None:
    said = running.root.out("id ann; id robot; grep -E '^(ann|bob|berth|robot):' /etc/passwd; grep ^dev: /etc/group")
    ann, robot, *rest = said.splitlines()
    assert ann.startswith("uid=1200(ann) gid="), said
    assert {"(ops)", "(dev)", "(berth)"} <= {f"({word}" for word in ann.replace(",", " ").replace("(", " ").split()}, (
        said
    )
    assert 900 <= int(robot.split("=")[1].split("(")[0]) < 1000
    assert "berth:x:1000:1000:Berth:/home/berth:/bin/sh" in rest
    assert any(line.startswith("ann:x:1200:") and ":Ann Operator:/srv/ann:/bin/sh" in line for line in rest)
    assert any(line.startswith("robot:x:") and line.endswith(":/usr/sbin/nologin") for line in rest)
    assert "dev:x:" in rest[-1]
    assert rest[-1].endswith(":ann")
    assert running.root.out("id eve; test -e /home/eve || echo homeless").split()[1:] == [
        "gid=100(users)",
        "groups=100(users)",
        "homeless",
    ]
    assert running.root.out("stat -c '%U %G %a' /srv/ann /home/bob").splitlines() == ["ann ops 700", "bob bob 700"]


def test_keys_open_to_their_users(running: Running) -> None:
    for user in ("berth", "ann", "root"):
        assert running.login(user).out("id -un").strip() == user
    assert running.login("ann").run("berthctl service restart nobody").err.count("there is no service") == 1


def test_the_host_key_is_the_given_one(running: Running) -> None:
    running.root.out("true")
    known = (running.machine.folder / "known_hosts").read_text()
    assert running.host_public.split()[1] in known


@pytest.mark.parametrize(("user", "opens"), [("ann", True), ("carl", True), ("bob", False), ("berth", False)])
def test_a_password_opens_where_it_is_not_locked(user: str, opens: bool, running: Running, tmp_path: Path) -> None:
    done = by_password(running, user, tmp_path)
    assert (done.returncode == 0) is opens, done
    assert (done.stdout.strip() == user) is opens, done


def by_password(running: Running, user: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Log in as a person does who has no key."""
    asks = folder / "asks"
    asks.write_text(f"#!/bin/sh\necho '{PASSWORD}'\n")
    asks.chmod(0o700)
    options = ("PubkeyAuthentication=no", "PreferredAuthentications=password", "NumberOfPasswordPrompts=1")
    argv = running.client.argv(running.machine, user, running.keys["berth"], "id", "-un", options=options)
    environment = {**running.client.tools.environment(), "SSH_ASKPASS": str(asks), "SSH_ASKPASS_REQUIRE": "force"}
    return subprocess.run(
        [word.replace("BatchMode=yes", "BatchMode=no") for word in argv],
        env={**environment, "PATH": os.environ["PATH"]}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=PATIENCE, check=False,
    )  # fmt: skip


def test_files_are_written(running: Running) -> None:
    root = running.root
    assert root.out("cat /etc/plain /srv/deep/er/b64 /opt/gz /opt/gzb64 /run/late").split() == [
        "text", "text", "packed", "packed", "late",
    ]  # fmt: skip
    said = root.out("stat -c '%U:%G %a' /etc/plain /srv/deep /srv/deep/er/b64 /run/late").splitlines()
    assert said == ["root:root 644", "ann:ops 755", "ann:ops 640", "ann:root 644"]
    assert root.out("cat /var/grows") == "one\n", "on state, what is appended is appended once per instance"


def test_commands_run_as_often_as_they_should(running: Running) -> None:
    root = running.root
    assert root.out("cat /var/boots").split() == [running.instance_id] * 2, "bootcmd: in each boot"
    assert root.out("cat /var/early").split() == ["before"] * 2, "and before write_files"
    assert root.out("cat /var/ran").splitlines() == ["ran as root", "two words"], "runcmd: once"


def test_file_systems_swap_and_state(running: Running) -> None:
    root = running.root
    assert "these are the goods" in root.out("cat /mnt/goods/label; berthctl logs reader")
    mounted = next(line for line in root.out("cat /proc/mounts").splitlines() if " /mnt/goods " in line)
    assert (" ext4 rw" in mounted, "noatime" in mounted) == (True, True), mounted
    assert "/var/swapfile" in root.out("cat /proc/swaps")
    assert root.json("berthctl status --json")["state"]["free"] > 2 << 30, "it grew to the disk's end"


def test_time(running: Running) -> None:
    assert running.root.out("date +%Z").strip() in ("CET", "CEST")
    assert "server 10.0.2.2 iburst" in running.root.out("cat /etc/chrony/chrony.conf")
    services = {one["name"]: one["state"] for one in running.root.json("berthctl ps --json")["services"]}
    assert services["chrony"] == "running"


def test_only_the_given_authority_is_trusted(running: Running) -> None:
    code = (
        "import ssl; c = ssl.create_default_context(); c.load_verify_locations('/etc/ssl/certs/ca-certificates.crt'); "
        "print([dict(x[0] for x in one['subject'])['commonName'] for one in c.get_ca_certs()])"
    )
    assert running.root.out(f'python3 -I -c "{code}"').strip() == "['An authority of its own']"
    assert running.root.out("ls /etc/ssl/certs").split() == ["berth-0.pem", "ca-certificates.crt"]


def test_berths_own_keys_for_the_system(running: Running) -> None:
    assert running.root.out("cat /proc/sys/vm/swappiness").strip() == "7"
    assert {"dummy0", "dummy1"} <= set(running.root.out("ls /sys/class/net").split())
    said = running.root.out('echo "$PROXY_OF_ALL"; sh -lc \'echo "$PROXY_OF_ALL"\'')
    assert said.splitlines() == ['some "where" else'] * 2


def test_it_phoned_home_once(running: Running) -> None:
    [(path, told)] = running.phone.calls
    assert path == f"/{running.instance_id}"
    assert told["hostname"] == ["box7"]
    assert told["fqdn"] == ["box7.example.org"]
    assert told["instance_id"] == [running.instance_id]
    assert told["pub_key_ed25519"] == [running.host_public]
    assert told["pub_key_rsa"] == told["pub_key_ecdsa"] == ["N/A"]


def test_the_last_word_comes_in_each_boot_and_the_power_state_in_one(running: Running) -> None:
    running.machine.wait_for_line("the last word, by cidata")
    assert sum("the last word, by cidata" in line for line in running.machine.console) >= 1
    assert sum("the machine starts again" in line for line in running.machine.console) == 1
    assert running.machine.names().count(events.SHUTDOWN_BEGUN) == 1


def test_all_of_it_is_well(running: Running) -> None:
    health = running.root.json("berthctl status --json")["health"]
    assert health == {"state": "healthy", "reasons": []}


def test_another_config_is_checked_and_planned_but_the_disk_comes_first(running: Running) -> None:
    ann = running.login("ann")
    wrong = ann.run("printf '#cloud-config\\nhostnam: x\\n' | berthctl config check - --json")
    assert wrong.status == 2, wrong
    new = "printf '#cloud-config\\nhostname: box8\\nmounts: []\\n' | "
    plan = json.loads(ann.out(f"{new} berthctl config plan - --json"))
    changes = {each["key"]: (each["change"], each["when"]) for each in plan["changes"]}
    assert changes["hostname"] == ("changed", "now")
    assert changes["containers.reader"] == ("removed", "now")
    assert changes["mounts"] == ("changed", "next boot")
    assert plan["reboot"] is True
    done = ann.run(f"{new} berthctl config apply - --json")
    assert (done.status, json.loads(done.out)["code"]) == (1, "overridden"), done
    said = ann.out("berthctl config show")
    assert "source   cidata" in said
    assert "$6$" not in said


def test_a_bomb_leaves_the_last_good_config_which_may_be_changed_and_outlives_a_reset(
    running: Running, tools: Tools
) -> None:
    """Last in the file, for it starts the machine again. Who may log in may still do so, and the console says why.

    Beside the bomb lie 100 MB of network configuration and a NUL.
    """
    machine, root = running.machine, running.root
    machine.cut_power()
    nocloud.make_disk(BOMB.encode(), machine.folder / "cidata.img", tools, beside=BESIDE)
    machine.start()
    refused = machine.wait(events.CONFIG_REFUSED)
    assert (refused["source"], refused["in_force"]) == ("cidata", "last-good")
    assert machine.wait(events.CONFIG_APPLIED)["source"] == "last-good"
    machine.wait_for_line("config refused (cidata)")
    for text in ("meta-data:1:15: a NUL character", "network-config: larger than 2 MiB", "alias"):
        assert any(text in error for error in refused["errors"]), (text, refused)
        machine.wait_for_line(text)
    status = running.login("berth").json("berthctl status --json")
    assert (status["hostname"], status["config"]["source"]) == ("box7", "last-good")
    assert "NUL" in status["config"]["refused"], status["config"]
    refused_by_hand(running)
    applied(running)
    root.out("echo mine > /home/ann-was-here; mkdir -p /var/lib/berth/volumes/data; echo x > /opt/x")
    after = len(machine.seen)
    assert root.json("berthctl reset --yes --json")["accepted"] is True
    machine.wait(events.SHUTDOWN_CLEAN, after=after)
    machine.wait(events.CONFIG_APPLIED, after=after, source="last-good")
    machine.wait(events.CONTAINER_HEALTHY, after=after, name="reader")
    machine.wait_for_line("state was reset: the ways in were kept")
    assert root.out("hostname").strip() == "box9"
    assert root.run("ls /opt/x").status != 0
    assert root.run("ls /home/ann-was-here /var/lib/berth/volumes/data").status != 0
    assert root.out("cat /var/ran").splitlines() == ["ran as root", "two words"], "a new machine's first boot"


def refused_by_hand(running: Running) -> None:
    """Apply one hostile document after the other; each is told with its reason, and nothing changes."""
    root = running.root
    for name, (data, _) in HOSTILE.items():
        root.send(data, f"cat > /run/{name}.yaml")
    names = " ".join(HOSTILE)
    said = root.out(f"for name in {names}; do berthctl config apply /run/$name.yaml 2>&1; echo status $?; done")
    for (_, words), answer in zip(HOSTILE.values(), said.split("status 2\n"), strict=False):
        assert words in answer, said
    assert said.count("status 2\n") == len(HOSTILE), said
    assert root.out("hostname").strip() == "box7"


def applied(running: Running) -> None:
    """Change the configuration of the running machine, and see what changed."""
    machine, root = running.machine, running.root
    dropped = ("power_state:", "phone_home:", "chpasswd:")
    new = "\n".join(line for line in running.config.splitlines() if not line.startswith(dropped))
    new = (
        new.replace("box7", "box9").replace("name: carl", "name: dora").replace("vm.swappiness: 7", "vm.swappiness: 9")
    )
    new = new.replace("{name: dora}", f'{{name: dora, ssh_authorized_keys: ["{running.keys["ann"].public}"]}}')
    before = next(one["restarts"] for one in root.json("berthctl status --json")["containers"])
    text = base64.b64encode(new.encode()).decode()
    answer = root.json(f"echo {text} | base64 -d | berthctl config apply - --json")
    assert (answer["valid"], answer["applied"]) == (True, True), answer
    changes = {each["key"]: each["when"] for each in answer["changes"]}
    assert changes.items() >= {"hostname": "now", "users.dora": "now", "power_state": "next boot"}.items(), changes
    dora = Login(client=running.client, machine=machine, user="dora", key=running.keys["ann"])
    assert dora.out("hostname; cat /proc/sys/vm/swappiness").split() == ["box9", "9"]
    assert next(one["restarts"] for one in root.json("berthctl status --json")["containers"]) == before
    shown = root.json("berthctl config show --json")
    assert (shown["source"], shown["machine"]["fqdn"]) == ("last-good", "box9.example.org")
    assert "$6$" not in json.dumps(shown)
