"""What another configuration changes: told, and done on the running fake machine as far as it can be."""

from __future__ import annotations

import base64
import io
import json
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import pytest
from fakes import machine
from fakes.running import Connection, Program, running

from init.berthctl import config as verb
from init.berthctl import main as berthctl
from init.berthctl import talk
from init.containers.places import PATH as PATH_OF_ORDERS
from init.formats import machine as formats
from init.formats.machine import Command, Container, Health, Machine, Mount, Network, Registry, User, WrittenFile
from init.formats.redact import redacted
from init.formats.release import DEFAULT_MACHINE_PATH
from init.pid1 import change, halves
from init.pid1.control import PATH
from init.pid1.events import Announcer
from init.pid1.system import Peer

KEY = "ssh-ed25519 AAAA me"
SECRETS = Machine(
    users=(User(name="ann", password_hash="$6$secret", lock_password=False),),
    registries=(Registry(host="r.example", username="u", password="secret"),),
    files=(WrittenFile(path="/etc/x", content="c2VjcmV0"),),
    environment=(("HTTPS_PROXY", "http://u:secret@proxy"),),
    ssh_host_keys=(("ed25519_private", "secret"),),
    containers=(Container(name="web", image="x", environment=(("TOKEN", "secret"),)),),
    random_seed="secret",
)
OLD = Machine(
    instance_id="i-1",
    hostname="box1",
    users=(User(name="ann", uid=1000, ssh_authorized_keys=(KEY,)), User(name="bob", ssh_authorized_keys=(KEY,))),
    files=(WrittenFile(path="/etc/motd2", content="YQ=="),),
    containers=tuple(Container(name=name, image="archive:/x") for name in ("one", "two", "three")),
    health=Health(settle=5.0),
)
NEW = replace(
    OLD,
    hostname="box2",
    users=OLD.users[:1],
    files=(*OLD.files, WrittenFile(path="/run/new", content=base64.b64encode(b"new\n").decode())),
    containers=(
        OLD.containers[0],
        replace(OLD.containers[1], image="archive:/y"),
        Container(name="four", image="archive:/z"),
    ),
    mounts=(Mount(device="/dev/vdb", target="/mnt"),),
    runcmd=(Command(argv=("true",)),),
)


def test_changes_are_told_by_name_and_time() -> None:
    told = {each.key: (each.what, each.when) for each in change.changes(OLD, NEW)}
    assert told == {
        "hostname": ("changed", "now"),
        "users.bob": ("removed", "now"),
        "files./run/new": ("added", "now"),
        "containers.two": ("changed", "now"),
        "containers.three": ("removed", "now"),
        "containers.four": ("added", "now"),
        "mounts": ("changed", "next boot"),
        "runcmd": ("changed", "next boot"),
    }
    assert change.changes(OLD, OLD) == ()
    gone = change.changes(NEW, replace(NEW, files=()))
    assert {each.when for each in gone} == {"next boot"}, "what was written stays written"


def test_only_what_is_live_gets_in_force() -> None:
    now = change.in_force(OLD, NEW)
    assert (now.hostname, now.containers, now.mounts, now.runcmd) == ("box2", NEW.containers, (), ())
    assert {each.name for each in fields(Machine)} >= change.LIVE


def test_only_what_is_told_stops() -> None:
    cache = Container(name="cache", image="z")
    assert change.stopping(OLD, NEW) == ("two", "three")
    assert change.stopping(OLD, replace(OLD, containers=OLD.containers[1:])) == ("one",)
    for place in range(4):
        new = replace(OLD, containers=(*OLD.containers[:place], cache, *OLD.containers[place:]))
        assert [each.key for each in change.changes(OLD, new)] == ["containers.cache"]
        assert change.stopping(OLD, new) == ()
    turned = replace(OLD, containers=OLD.containers[::-1])
    assert (change.changes(OLD, turned), change.stopping(OLD, turned)) == ((), ())


def report(new: Machine | None, **more: object) -> bytes:
    answer = {
        "format": "berth.compiled/1",
        "machine": formats.encode(new or OLD),
        "source": "file",
        "sha256": "ab" * 32,
        "diagnostics": [],
        "refused": None,
        "lifeline": False,
        "document": base64.b64encode(b"#berth\n").decode(),
        **more,
    }
    return json.dumps(answer).encode()


REFUSED = report(
    None,
    refused={"source": "file", "sha256": "cd", "errors": 1},
    diagnostics=[{"severity": "error", "file": "file:user-data", "line": 2, "column": 1, "path": "x", "message": "no"}],
)


class Life:
    """A machine with `OLD`, asked one thing when it is up, and once more for its status later."""

    def __init__(self, request: dict[str, object], answer: bytes, *, peer: Peer | None = None) -> None:
        def programs(argv: Sequence[str]) -> Program:
            if argv[4:5] == ["config"] or "config" in argv[:6]:
                return Program(seconds=0.2, output=answer)
            if argv[-1].startswith(("one", "two", "three", "four")) and "run" in argv:
                return Program()
            return Program() if "dhcpcd" in argv[0] or "chronyd" in argv[0] else Program(seconds=0.05)

        self.system = system = running(machine.installed(), programs)
        root = system.filesystems["/dev/vda7"]
        root[DEFAULT_MACHINE_PATH] = json.dumps(formats.encode(OLD)).encode()
        system.filesystems["proc"]["/sys/kernel/random/boot_id"] = b"0-1-2\n"
        system.filesystems["cgroup2"] = {"/cgroup.controllers": b"cpu memory pids\n", "/cgroup.subtree_control": b""}
        system.filesystems["devtmpfs"]["/kmsg"] = b""
        self.clients: list[Connection] = []
        self.files: dict[str, bytes | None] = {}
        self.orders: dict[str, bytes] = {}
        line = json.dumps({"verb": "config", **request}).encode() + b"\n"
        system.at(30.0, lambda: self.ask(line, peer))
        system.at(50.0, self.look)
        system.at(51.0, lambda: self.ask(b'{"verb": "status"}\n', None))
        system.at(52.0, lambda: self.ask(b'{"verb": "config", "action": "show"}\n', None))
        system.at(60.0, lambda: system.raise_signal(12))
        halves.run(system, Announcer(system))

    def ask(self, line: bytes, peer: Peer | None) -> None:
        made = self.system.connect(PATH, line, peer)
        assert made is not None
        self.clients.append(made)

    def look(self) -> None:
        for path in ("/run/new", "/etc/ssh/authorized_keys/ann", "/etc/ssh/authorized_keys/bob", "/etc/hostname"):
            self.files[path] = self.system.read(path) if self.system.exists(path) else None
        for each in self.system.names(PATH_OF_ORDERS):
            self.orders[each.removesuffix(".json")] = self.system.read(f"{PATH_OF_ORDERS}/{each}")
        kept = "/var/lib/berth/config/user-data"
        self.files["kept"] = self.system.read(kept) if self.system.exists(kept) else None

    @property
    def answers(self) -> list[dict]:
        return [json.loads(client.answer) for client in self.clients]


def test_a_config_is_applied_as_far_as_it_can_be() -> None:
    life = Life({"action": "apply", "path": "/tmp/x"}, report(NEW))
    answer, status, shown = life.answers
    assert (answer["valid"], answer["applied"], answer["reboot"]) == (True, True, True)
    assert status["hostname"] == "box2"
    assert [each["name"] for each in status["containers"]] == ["four", "one", "two"]
    assert {each["state"] for each in status["containers"]} == {"running"}
    starts = [argv[-1] for argv in life.system.started if "run" in argv and "container" in argv]
    assert sorted(starts) == ["four", "one", "three", "two", "two"], "one runs on"
    assert life.files["/run/new"] == b"new\n"
    assert life.files["/etc/hostname"] == b"box2\n"
    assert life.files["/etc/ssh/authorized_keys/ann"] is not None
    assert life.files["/etc/ssh/authorized_keys/bob"] is None, "a key that is taken away opens nothing any more"
    assert life.files["kept"] == b"#berth\n"
    assert [each["key"] for each in shown["at_next_boot"]] == ["runcmd", "mounts"]
    assert shown["source"] == "last-good"
    assert {each["content"] for each in shown["machine"]["files"]} == {"(hidden)"}


def test_a_container_put_before_the_others_lets_them_run() -> None:
    new = replace(OLD, containers=(Container(name="four", image="archive:/z"), *OLD.containers))
    life = Life({"action": "apply", "path": "/tmp/x"}, report(new))
    assert [each["key"] for each in life.answers[0]["changes"]] == ["containers.four"]
    starts = [argv[-1] for argv in life.system.started if "run" in argv and "container" in argv]
    assert sorted(starts) == ["four", "one", "three", "two"], "each once"
    numbers = {name: json.loads(life.orders[name])["number"] for name in ("one", "two", "three", "four")}
    assert numbers == {"one": 0, "two": 1, "three": 2, "four": 3}


@pytest.mark.parametrize("action", ["plan", "check"])
def test_a_plan_changes_nothing(action: str) -> None:
    life = Life({"action": action, "path": "/tmp/x"}, report(NEW))
    answer, status, _ = life.answers
    assert answer["valid"] is True
    assert ("changes" in answer) is (action == "plan")
    assert (status["hostname"], life.files["kept"], life.files["/run/new"]) == ("box1", None, None)


@pytest.mark.parametrize("action", ["plan", "check", "apply"])
def test_what_is_refused_changes_nothing(action: str) -> None:
    life = Life({"action": action, "path": "/tmp/x"}, REFUSED)
    answer, status, _ = life.answers
    assert answer["valid"] is False
    assert answer["diagnostics"][0]["line"] == 2
    assert (status["hostname"], life.files["kept"]) == ("box1", None)
    assert status["config"]["refused"] is None


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"action": "apply"}, "request"),
        ({"action": "apply", "path": "relative"}, "request"),
        ({"action": "eat", "path": "/tmp/x"}, "action"),
    ],
)
def test_wrong_requests_are_told(request_: dict[str, object], code: str) -> None:
    assert Life(request_, report(NEW)).answers[0]["code"] == code


def test_a_child_that_says_nonsense_is_told() -> None:
    assert Life({"action": "apply", "path": "/tmp/x"}, b"what?").answers[0]["code"] == "config"


def test_the_config_is_not_for_everybody() -> None:
    life = Life({"action": "show"}, b"", peer=Peer(pid=9, uid=1234, groups=(1234,)))
    assert life.answers[0]["code"] == "permission"


# --- the command ----------------------------------------------------------------------------------------------


def answered(answer: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    asked: list[dict[str, object]] = []

    def one(request: dict[str, object], path: str = "", patience: float = 0) -> dict[str, object]:
        if "path" in request:
            with Path(str(request["path"])).open("rb") as file:
                request["data"] = file.read()
                request["mode"] = Path(str(request["path"])).stat().st_mode & 0o777
        asked.append(request)
        return answer

    monkeypatch.setattr(talk, "one", one)
    return asked


def test_the_document_goes_over_in_a_file_of_ones_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = [{"key": "hostname", "change": "changed", "when": "now"}]
    answer = {"valid": True, "action": "apply", "changes": changes, "applied": True, "reboot": True, "diagnostics": []}
    asked = answered(answer, monkeypatch)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"#berth\n")))
    assert berthctl.main(["config", "apply", "-"]) == 0
    assert (asked[0]["data"], asked[0]["mode"]) == (b"#berth\n", 0o600)
    assert not Path(str(asked[0]["path"])).exists()
    assert "applied and kept; the rest comes with the next boot" in capsys.readouterr().out


def test_errors_are_told_by_the_files_own_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    document = tmp_path / "new.yaml"
    document.write_text("x")
    diagnostics = [{"severity": "error", "file": "file:user-data", "line": 2, "column": 1, "path": "a", "message": "b"}]
    answered({"valid": False, "action": "check", "diagnostics": diagnostics}, monkeypatch)
    assert berthctl.main(["config", "check", str(document)]) == 2
    assert f"{document}:2:1: error: b (a)" in capsys.readouterr().err
    assert berthctl.main(["config", "check"]) == 2
    assert berthctl.main(["config", "check", str(tmp_path / "none")]) == 1


def test_what_is_in_force_is_shown_as_yaml(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    value = redacted(replace(SECRETS, network=Network(default_dhcp=False)))
    answered({"action": "show", "source": "cidata", "sha256": "ab", "machine": value}, monkeypatch)
    assert berthctl.main(["config", "show"]) == 0
    said = capsys.readouterr().out
    assert "source   cidata" in said
    assert "users:\n  - name: ann\n    password_hash: (hidden)\n" in said
    assert "network:\n  default_dhcp: false\n" in said
    assert verb.HELP


def test_a_reset_is_confirmed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked = answered({"hostname": "box1", "accepted": True, "state": {"kind": "ext4"}}, monkeypatch)

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", io.StringIO("box1\n"))
    assert berthctl.main(["reset"]) == 2, "nobody is there to ask"
    monkeypatch.setattr(sys, "stdin", Terminal("yes\n"))
    assert berthctl.main(["reset"]) == 1
    assert [each for each in asked if each["verb"] == "reset"] == []
    monkeypatch.setattr(sys, "stdin", Terminal("box1\n"))
    assert berthctl.main(["reset"]) == 0
    assert berthctl.main(["reset", "--yes", "--everything"]) == 0
    assert [each.get("everything") for each in asked if each["verb"] == "reset"] == [False, True]
    assert "the configuration, the SSH host key and the machine's id stay" in capsys.readouterr().err
