"""Bombs and large configurations: `berth check` stays within limits that the kernel holds it to, and agrees with PID 1.

The limits are on the child itself (address space, processor seconds): one that needs more is killed or raises, and has
no answer. Nothing here is timed.
"""

from __future__ import annotations

import base64
import gzip
import json
import random
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from init.dialects.compile import Document, compile_document, compile_documents
from init.formats.machine import DOCUMENT_MOST, ENCODED_MOST, REPORT_MOST

ROOT = Path(__file__).parents[2]
MEMORY, SECONDS = 256 << 20, 5
CHECK = "import sys; from builder.cli.main import main; sys.exit(main(sys.argv[1:]))"
CHILD = "import sys; from init.dialects.machine_config import main; sys.exit(main(sys.argv[1:]))"
HEAD = b"#cloud-config\nhostname: reach-me\n"


def packed(size: int, end: int | None = None) -> bytes:
    return base64.b64encode(gzip.compress(bytes(size), mtime=0)[:end])


def files(count: int, content: bytes) -> bytes:
    one = b" - {path: /etc/f%d, encoding: gz+b64, content: "
    return b"write_files:\n" + b"".join(one % number + content + b"}\n" for number in range(count))


SHARED = b"x-a: &z %s\n"
BOMBS = {
    "shared": HEAD + SHARED % packed(4_000_000) + files(120, b"*z"),
    "many shared": HEAD + SHARED % packed(4_000_000) + files(9000, b"*z"),
    "each its own": HEAD + files(70, packed(DOCUMENT_MOST)),
    "cut off": HEAD + SHARED % packed(2_000_000, -8)[:2000] + files(9000, b"*z"),
    "long words": HEAD + b"x-a: &z " + b"x" * 900_000 + b"\nruncmd:\n" + b" - [a, *z]\n" * 30_000,
    "long keys": HEAD + b"x-a: &z {" + b"k" * 1000 + b": 1}\nruncmd:\n" + b" - [*z, *z]\n" * 12_000,
    "many users": HEAD + b"users:\n" + b"".join(b" - {name: u%d, gecos: a}\n" % number for number in range(19_000)),
    "controls": HEAD + b'runcmd: ["' + rb"\x01" * 400_000 + b'"]\n',
}


def limited(code: str, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))

    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=False, cwd=ROOT, preexec_fn=limit)


@pytest.mark.long
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_checked_within_five_seconds_of_processor_and_256_mb(tmp_path: Path, name: str) -> None:
    (tmp_path / "box.yaml").write_bytes(BOMBS[name])
    done = limited(CHECK, "check", "--json", tmp_path / "box.yaml")
    assert done.stderr == b""
    answer = json.loads(done.stdout)
    assert done.returncode == (0 if answer["valid"] else 2)


@pytest.mark.long
@pytest.mark.parametrize("name", BOMBS)
def test_the_machine_answers_a_bomb_as_check_does_and_lets_its_owner_in(tmp_path: Path, name: str) -> None:
    (tmp_path / "user-data").write_bytes(BOMBS[name])
    done = limited(CHILD, "--file", tmp_path / "user-data")
    assert done.stderr == b""
    assert len(done.stdout) < REPORT_MOST
    answer = json.loads(done.stdout)
    compiled = compile_document(BOMBS[name], file="f")
    assert (answer["refused"] is None) == (compiled.machine is not None)
    assert answer["machine"]["hostname"] == "reach-me"
    assert answer["lifeline"] == (compiled.machine is None)


def test_files_that_are_too_large_together_are_told_at_the_one_that_is_too_much() -> None:
    half = DOCUMENT_MOST // 2
    fits = HEAD + files(2, packed(half))
    assert compile_document(fits, file="f").machine is not None
    more = compile_document(fits + files(1, packed(1)).partition(b"\n")[2], file="f")
    (said,) = more.diagnostics
    assert (said.path, said.code, said.place.line) == ("write_files[2].content", "limit", 6)
    assert f"{DOCUMENT_MOST >> 20} MiB" in said.message


def test_a_machine_that_is_too_large_is_told_at_its_heaviest_key() -> None:
    text = b"#berth\nhostname: a\nruncmd: ['" + b"\xc3\xa9" * 999_999 + b"']\n"
    (said,) = compile_document(text, file="f").diagnostics
    assert (said.path, said.place.line, said.code) == ("runcmd", 3, "limit")


def test_documents_count_together() -> None:
    user = Document(data=HEAD + b"#" * (DOCUMENT_MOST - 1000), file="user-data")
    assert compile_documents(user).machine is not None
    beside = Document(data=b"instance-id: i\n#" + b"#" * 2000, file="meta-data")
    (said,) = compile_documents(user, meta_data=beside).diagnostics
    assert (said.place.file, said.code) == ("user-data", "limit")


def test_the_largest_that_check_takes_is_far_from_what_pid_1_takes(tmp_path: Path) -> None:
    """Files that do not shrink, in a document as long as it may be."""
    noise = base64.b64encode(random.Random(1).randbytes((DOCUMENT_MOST - 3000) * 3 // 4))
    text = HEAD + b"write_files: [{path: /etc/a, encoding: b64, content: " + noise + b"}]\n"
    seed = tmp_path / "seed"
    seed.mkdir()
    (seed / "user-data").write_bytes(text)
    (seed / "meta-data").write_bytes(b"instance-id: i\n")
    assert compile_document(text, file="f").machine is not None
    done = limited(CHILD, "--seed", seed)
    answer: dict[str, Any] = json.loads(done.stdout)
    assert answer["refused"] is None
    assert len(done.stdout) < REPORT_MOST * 2 // 3
    assert DOCUMENT_MOST * 16 / 9 + ENCODED_MOST + (1 << 20) < REPORT_MOST
