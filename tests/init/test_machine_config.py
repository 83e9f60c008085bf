"""The config child as PID 1 starts it: a program that prints one object, whatever it finds, within its bounds."""

from __future__ import annotations

import base64
import gzip
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from init.dialects.machine_config import READ_SECONDS, SECONDS, decide
from init.dialects.nocloud import Seed, parse_line, with_dmi
from init.dialects.reading import AT_ONCE, AtOnce, SideBySide
from init.dialects.sources import Places
from init.formats.machine import decode
from init.pid1 import boot

DEFAULT = b"#berth\ncontainers: {web: {image: demo}}\n"
GOOD = b"#cloud-config\nhostname: good\n"
NAMED = b"#berth\nhostname: %s\n"
BAD = b"#cloud-config\nhostname: bad\nnonsense: 1\n"


def seed(folder: Path, user: bytes | None, **others: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if user is not None:
        (folder / "user-data").write_bytes(user)
    for name, data in others.items():
        (folder / name.replace("_", "-")).write_bytes(data)
    return folder


def child(*arguments: str | Path) -> dict[str, Any]:
    code = "import sys; from init.dialects.machine_config import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60, cwd=Path(__file__).parents[2])
    assert done.stderr == b""
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_it_prints_the_machine(tmp_path: Path) -> None:
    default = tmp_path / "machine.yaml"
    default.write_bytes(DEFAULT)
    got = child("--default", default, "--seed", seed(tmp_path / "seed", GOOD, meta_data=b"instance-id: i-1\n"))
    machine = decode(got["machine"])
    assert (machine.hostname, machine.instance_id, machine.containers[0].name) == ("good", "i-1", "web")
    assert (got["source"], got["refused"], got["lifeline"]) == ("cidata", None, False)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"#cloud-config\n" + b"a: [" * 100_000,
        b"#cloud-config\na: &a [" + b"x," * 400 + b"]\nb: &b [" + b"*a," * 400 + b"]\nc: [" + b"*b," * 400 + b"]\n",
        b"#cloud-config\n" + b"#" * (100 * 2**20),
        b"#cloud-config\nhostname: \xff\n",
        b"#cloud-config\nhostname: \0\n",
        gzip.compress(b"#cloud-config\n" + b"#" * (200 * 2**20)),
        b"#cloud-config\nwrite_files: [{path: /etc/../../x}]\n",
        b"#cloud-config\n" + b"".join(b"k%d: {}\n" % number for number in range(30_000)),
        b"#cloud-config\n" + b"&a " * 1000 + b"\n",
        b"#cloud-config\n? " * 20_000,
        b"#cloud-config\nrandom_seed: {data: " + b"9" * 10**6 + b"}\n",
    ],
    ids=range(12),
)
def test_hostile_documents_get_an_answer_within_the_bounds(tmp_path: Path, data: bytes) -> None:
    got = child("--seed", seed(tmp_path / "seed", data, meta_data=b"instance-id: i\n"))
    assert got["format"] == "berth.compiled/1"
    assert decode(got["machine"])


def test_the_first_source_that_is_there_wins(tmp_path: Path) -> None:
    line = tmp_path / "cmdline"
    line.write_text(f"quiet ds=nocloud;s=file://{seed(tmp_path / 'line', NAMED % b'line')}/\n")
    smbios = seed(tmp_path / "smbios", None)
    (smbios / "product_serial").write_text(f"ds=nocloud;s={seed(tmp_path / 's', NAMED % b'smbios')}\n")
    disk = seed(tmp_path / "disk", b"#berth\nhostname: disk\n")
    medium = tmp_path / "medium"
    medium.write_bytes(b"#berth\nhostname: medium\n")
    last = seed(tmp_path / "last", b"#berth\nhostname: last\n")
    whole: dict[str, Any] = {"cmdline": line, "smbios": smbios, "seeds": (disk,), "medium": medium, "last_good": last}
    for name in ("line", "smbios", "disk", "medium", "last"):
        assert decide(Places(**whole), None)["machine"]["hostname"] == name
        whole.pop({"line": "cmdline", "disk": "seeds", "last": "last_good"}.get(name, name))
    assert decide(Places(**whole), DEFAULT)["source"] == "recipe"


def test_a_refused_one_leaves_the_last_good_in_force(tmp_path: Path) -> None:
    disk, last = seed(tmp_path / "disk", BAD), seed(tmp_path / "last", GOOD)
    got = decide(Places(seeds=(disk,), last_good=last), DEFAULT)
    assert (got["source"], got["machine"]["hostname"], got["lifeline"]) == ("last-good", "good", False)
    assert got["refused"]["source"] == "cidata"
    assert got["refused"]["errors"] == 1
    assert got["diagnostics"]
    assert got["document"] == ""


def test_without_a_last_good_one_there_is_the_lifeline(tmp_path: Path) -> None:
    got = decide(Places(seeds=(seed(tmp_path / "disk", BAD),)), DEFAULT)
    assert (got["machine"]["hostname"], got["lifeline"]) == ("bad", True)
    assert got["refused"]["source"] == "cidata"
    got = decide(Places(seeds=(seed(tmp_path / "disk", b"nothing"),)), DEFAULT)
    assert (got["source"], got["lifeline"], got["machine"]["containers"][0]["name"]) == ("recipe", False, "web")


def test_what_was_in_force_can_be_kept_and_is_the_same_again(tmp_path: Path) -> None:
    network = b"version: 2\nethernets: {eth0: {dhcp4: true}}\n"
    disk = seed(tmp_path / "disk", GOOD, meta_data=b"instance-id: i-1\n", network_config=network)
    first = decide(Places(seeds=(disk,)), DEFAULT)
    last = seed(tmp_path / "last", base64.b64decode(first["document"]))
    again = decide(Places(last_good=last), DEFAULT)
    assert again["machine"] == first["machine"]
    assert again["sha256"] == first["sha256"]
    alone = decide(Places(seeds=(seed(tmp_path / "alone", GOOD),)), DEFAULT)
    assert base64.b64decode(alone["document"]) == GOOD


def test_a_damaged_last_good_one_is_refused_like_any_other(tmp_path: Path) -> None:
    got = decide(Places(last_good=seed(tmp_path / "last", b'{"format": "berth.seed/1", "user-data": 3}')), DEFAULT)
    assert got["refused"]["source"] == "last-good"
    assert got["source"] == "recipe"


def test_the_line_s_name_and_id_count_beside_a_disk(tmp_path: Path) -> None:
    line = tmp_path / "cmdline"
    line.write_text("ds=nocloud;h=fromline;i=i-9\n")
    disk = seed(tmp_path / "disk", b"#cloud-config\n{}\n", meta_data=b"instance-id: i-1\nlocal-hostname: other\n")
    got = decide(Places(cmdline=line, seeds=(disk,)), None)
    assert (got["machine"]["hostname"], got["instance_id"]) == ("fromline", "i-9")


def test_a_document_in_the_line_itself(tmp_path: Path) -> None:
    line = tmp_path / "cmdline"
    line.write_text(f"berth.config={base64.b64encode(GOOD).decode()}")
    assert decide(Places(cmdline=line), None)["machine"]["hostname"] == "good"
    line.write_text("berth.config=%%%")
    assert decide(Places(cmdline=line), None)["refused"]["source"] == "cmdline"


def test_an_instance_without_an_id_gets_one_from_its_document(tmp_path: Path) -> None:
    one = decide(Places(seeds=(seed(tmp_path / "a", GOOD),)), None)["instance_id"]
    two = decide(Places(seeds=(seed(tmp_path / "b", GOOD + b"#\n"),)), None)["instance_id"]
    assert one.startswith("i-")
    assert one != two


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("ds=nocloud;s=ftp://u:secret@h/x/?token=secret", "ftp://h/x/"),
        ("ds=nocloud;s=/nowhere/", "/nowhere/"),
        ("ds=nocloud;s=file:///nowhere/", "/nowhere/"),
        ("ds=nocloud;s=https//typo/", "https//typo/"),
        ("ds=ec2", "`ec2`"),
        ("ci.ds=ec2", "`ec2`"),
        ("ds=nocloud;S=http://h/;h=box", "`S`"),
        ("cloud-config-url=ftp://x/", "ftp://x/"),
        ("url=secret@x", "x:"),
    ],
)
def test_what_is_named_and_not_used_is_said(tmp_path: Path, line: str, named: str) -> None:
    (tmp_path / "cmdline").write_text(line)
    got = decide(Places(cmdline=tmp_path / "cmdline"), None)
    assert got["source"] == "recipe"
    (said,) = got["diagnostics"]
    assert (said["severity"], said["file"]) == ("warning", "cmdline")
    assert named in said["message"]
    assert "secret" not in json.dumps(said)


def test_the_firmware_s_seed_that_is_not_there_is_said(tmp_path: Path) -> None:
    (tmp_path / "product_serial").write_text(f"ds=nocloud;s={tmp_path}/no/\n")
    (said,) = decide(Places(smbios=tmp_path), None)["diagnostics"]
    assert said["file"] == "smbios"
    seed(tmp_path / "no", GOOD)
    assert decide(Places(smbios=tmp_path), None)["diagnostics"] == []


def test_parts_of_a_seed_that_are_not_acted_on_are_said(tmp_path: Path) -> None:
    meta = b"instance-id: i\nnetwork-interfaces: auto eth0\nseedfrom: http://h/\ndsmode: net\nami-id: a\n"
    disk = seed(tmp_path / "a", GOOD, meta_data=meta, vendor_data=b"#cloud-config\nruncmd: [ls]\n")
    got = decide(Places(seeds=(disk,)), None)
    assert got["source"] == "cidata"
    assert [(each["severity"], each["file"], each["path"]) for each in got["diagnostics"]] == [
        ("warning", "cidata:meta-data", "network-interfaces"),
        ("warning", "cidata:meta-data", "seedfrom"),
        ("warning", "cidata:meta-data", "dsmode"),
        ("warning", "cidata:vendor-data", ""),
    ]
    assert decide(Places(seeds=(seed(tmp_path / "b", GOOD, vendor_data=b"\n"),)), None)["diagnostics"] == []


def test_the_line_s_grammar(tmp_path: Path) -> None:
    assert parse_line("ec2") is None
    got = parse_line("nocloud-net;seedfrom=http://x/;local-hostname=h;instance-id=i")
    assert got is not None
    assert (got.seed, got.hostname, got.instance_id) == ("http://x/", "h", "i")
    (tmp_path / "product_uuid").write_text("abc\n")
    assert with_dmi("http://x/__dmi.system-uuid__/__dmi.nothing__/", tmp_path) == "http://x/abc//"


def broken(folder: Path, how: str) -> Path:
    seed(folder, None, meta_data=b"instance-id: z\n")
    path = folder / "user-data"
    match how:
        case "fifo":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "loop":
            path.symlink_to(path)
        case "nowhere":
            path.symlink_to(folder / "none")
    return folder


@pytest.mark.parametrize("how", ["fifo", "folder", "loop", "nowhere"])
def test_user_data_that_can_t_be_read_is_refused_and_not_absent(tmp_path: Path, how: str) -> None:
    disk, last = broken(tmp_path / "disk", how), seed(tmp_path / "last", GOOD)
    got = child("--seed", disk, "--last-good", last)
    assert (got["source"], got["machine"]["hostname"]) == ("last-good", "good")
    assert got["refused"]["source"] == "cidata"
    (said,) = got["diagnostics"]
    assert (said["severity"], said["file"], said["code"]) == ("error", "cidata:user-data", "unreadable")
    assert said["message"].startswith("user-data can't be read: ")
    medium = tmp_path / "medium"
    medium.write_bytes(NAMED % b"medium")
    got = decide(Places(seeds=(disk,), medium=medium), DEFAULT)
    assert (got["source"], got["refused"]["source"]) == ("medium", "cidata")
    got = decide(Places(seeds=(disk,)), DEFAULT)
    assert (got["source"], got["refused"]["source"], len(got["diagnostics"])) == ("recipe", "cidata", 1)


def test_meta_data_that_can_t_be_read_is_no_seed_without(tmp_path: Path) -> None:
    disk = seed(tmp_path / "disk", GOOD)
    (disk / "meta-data").mkdir()
    got = decide(Places(seeds=(disk,)), None)
    assert (got["source"], got["refused"]["source"]) == ("recipe", "cidata")
    assert got["diagnostics"][0]["message"].startswith("meta-data can't be read")


def test_meta_data_alone_is_no_seed_and_takes_nothing_from_the_last_good(tmp_path: Path) -> None:
    disk, last = seed(tmp_path / "disk", None, meta_data=b"instance-id: z\n"), seed(tmp_path / "last", GOOD)
    got = decide(Places(seeds=(disk,), last_good=last), DEFAULT)
    assert (got["source"], got["machine"]["hostname"], got["refused"]) == ("last-good", "good", None)
    (said,) = got["diagnostics"]
    assert (said["severity"], said["file"]) == ("warning", "cidata")
    assert "empty file `user-data`" in said["message"]
    (disk / "user-data").touch()
    assert decide(Places(seeds=(disk,), last_good=last), DEFAULT)["source"] == "cidata"


class Stuck(AtOnce):
    """A drive that gives nothing until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def folder(self, path: Path) -> Seed:
        self.go.wait(60)
        return super().folder(path)


def test_a_disk_that_is_not_read_in_time_is_said_and_leaves_the_last_good(tmp_path: Path) -> None:
    disk, last = seed(tmp_path / "disk", NAMED % b"disk"), seed(tmp_path / "last", GOOD)
    places = Places(seeds=(disk,), last_good=last)
    drive = Stuck()
    reading = SideBySide(folders=[disk], files=[last / "user-data"], seconds=0.5, reader=drive)
    got = decide(places, DEFAULT, reading)
    assert (got["source"], got["machine"]["hostname"]) == ("last-good", "good")
    assert got["refused"] == {"source": "cidata", "sha256": "", "errors": 1}
    assert [each["message"] for each in got["diagnostics"]] == ["it can't be read within 0.5 s"]
    drive.go.set()
    reading = SideBySide(folders=[disk], files=[last / "user-data"], seconds=60, reader=AT_ONCE)
    assert decide(places, DEFAULT, reading)["machine"]["hostname"] == "disk"


def test_the_bounds_fit_into_the_one_that_pid_1_has() -> None:
    assert READ_SECONDS > 2 * SECONDS - 1, "a drive that takes a little over 5 s to get going costs no configuration"
    assert READ_SECONDS + 3 * SECONDS < boot.CONFIG_BOUND, "the document, its lifeline, and the last good one"


def test_what_takes_too_long_to_understand_still_lets_its_owner_in(tmp_path: Path) -> None:
    users = b"".join(b" - {path: /etc/f%d, content: a}\n" % number for number in range(14_000))
    key = b"ssh_authorized_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl x]\n"
    disk = seed(tmp_path / "disk", b"#cloud-config\nhostname: in\n" + key + b"write_files:\n" + users)
    got = child("--seconds", "0.01", "--seed", disk)
    assert (got["lifeline"], got["machine"]["hostname"]) == (True, "in")
    assert got["machine"]["users"][0]["name"] == "berth"
    assert "files" not in got["machine"]
    assert got["diagnostics"][0]["message"] == "not understood within 0.01 s"
