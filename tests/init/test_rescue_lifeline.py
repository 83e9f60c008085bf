"""What rescue takes out of the last good configuration, and what `berthctl rescue status` shows of it."""

from __future__ import annotations

import json
from pathlib import Path

from fakes import machine
from fakes.system import FakeSystem

from init.berthctl import rescue as verb
from init.formats.release import Release
from init.rescue import lifeline

KEY = b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdVrJS0a+2trME5edHqUraAlEV8w25WYHZ2g5v9GV/T"
DOCUMENT = b"""#cloud-config
hostname: lost1
disable_root: false
ssh_pwauth: true
users:
  - default
  - {name: root, ssh_authorized_keys: ["@KEY@ root@desk"]}
  - {name: guest, hashed_passwd: "$6$salt$hash", lock_passwd: false}
ssh_authorized_keys: ["@KEY@ me@desk"]
runcmd: ["touch /var/lib/mine"]
berth:
  network: {version: 2, ethernets: {eth0: {addresses: [192.0.2.7/24]}}}
  containers: {web: {image: demo, required: true}}
""".replace(b"@KEY@", KEY)
RELEASE = Release(name="minimal", version="1", machine_class="minimal-amd64", engine="crun", kernel="6", epoch=1)


def kept(folder: Path, document: bytes = DOCUMENT) -> lifeline.Lifeline:
    (folder / "user-data").write_bytes(document)
    (folder / "sha256").write_text("ab" * 32)
    return lifeline.read(folder, folder / "none")


def test_users_keys_and_network_come_along_and_nothing_that_is_run(tmp_path: Path) -> None:
    found = kept(tmp_path)
    made = found.machine
    assert (made.hostname, made.network.links[0].addresses) == ("lost1", ("192.0.2.7/24",))
    assert {user.name for user in made.users} >= {"berth", "root", "guest"}
    assert all(user.password_hash is None and user.lock_password for user in made.users)
    assert (made.ssh_password, made.containers, made.runcmd, made.files) == (False, (), (), ())
    assert found.identity is not None
    assert found.identity["sha256"] == "ab" * 32
    assert "lost1, sha256 abababababab" in found.sentence


def test_without_one_nobody_gets_in(tmp_path: Path) -> None:
    found = lifeline.read(tmp_path / "nothing", tmp_path / "none")
    assert (found.identity, found.sentence) == (None, lifeline.NOBODY)
    assert not any(user.ssh_authorized_keys for user in found.machine.users)


def test_a_document_that_is_damaged_lets_nobody_in_and_ends_nothing(tmp_path: Path) -> None:
    found = kept(tmp_path, b"#cloud-config\nusers: [\x00")
    assert not found.machine.root_keys


def test_the_keys_stand_where_sshd_looks(tmp_path: Path) -> None:
    system: FakeSystem = machine.installed()
    system.tree.fill({
        "/usr/share/factory/etc/passwd": b"root:x:0:0::/root:/bin/sh\n",
        "/usr/share/factory/etc/group": b"root:x:0:\nshadow:x:42:\n",
        "/usr/share/factory/etc/shadow": b"root:*:20000:0:99999:7:::\n",
        "/etc": None,
    })  # fmt: skip
    lifeline.write_etc(system, kept(tmp_path).machine, RELEASE)
    assert b"root@desk" in system.tree.get("/etc/ssh/authorized_keys/root")
    assert b"me@desk" in system.tree.get("/etc/ssh/authorized_keys/berth")
    assert b"PasswordAuthentication no" in system.tree.get("/etc/ssh/sshd_config")
    assert b"$6$" not in system.tree.get("/etc/shadow")


def test_the_screen_says_what_is_known_and_what_is_not() -> None:
    answer = json.loads("""{
        "reason": "neither slot has a try left", "kernel": "a", "borrowed": {"slot": "a", "version": "7"},
        "slots": {"a": {"tries": 0, "good": true}, "b": {"tries": 0, "good": false}},
        "last_boot": {"slot": "b", "phase": "containers", "reason": "unhealthy", "detail": "web is starting"},
        "config": {"sha256": "abababababababab"}, "hostname": "lost1",
        "addresses": {"eth0": ["10.0.2.15/24"]}, "ssh": "ssh: port 22"}""")
    shown = "\n".join(verb.screen(answer))
    for words in (
        "neither slot has a try left",
        "slot a     confirmed, 0 tries left",
        "slot b, came as far as containers; unhealthy: web is starting",
        "lost1, sha256 abababababab",
        "eth0 10.0.2.15/24",
    ):
        assert words in shown
    empty = "\n".join(verb.screen({"reason": "x", "slots": {}, "addresses": {}, "config": None}))
    assert "the boot record can't be read" in empty
    assert "no address" in empty
