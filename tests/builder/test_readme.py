"""README's own commands: each is taken out of the page and typed here, or named with the test that runs just that one.

They are typed in a folder that looks like a clone and has the caches of this one, so that what `make test` has built
need not be built again. Those that boot a machine are run in `qemu-tests/`.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from init.berthctl import main as berthctl
from init.dialects.compile import compile_document

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "README.md").read_text()
BERTH = ".venv/bin/berth"
_BOUND = 900.0  # seconds of one command, many times what it takes on a quiet machine


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """The test that runs a command: its file, its name, and words of it that show so."""

    file: str
    test: str
    words: str


MORE = {f"{BERTH} build": "--heal"}  # a committed lock goes stale by itself; `make run` heals it, too
TYPED = {  # what is typed here, in the page's order, and a part of what it prints
    f"{BERTH} build podman": "podman.iso",
    f"{BERTH} build minimal --set build.kernel=cloud": "minimal.iso",
    f"{BERTH} inspect build/out/podman/podman.iso": "podman-amd64",
    f"{BERTH} doctor": "accelerator",
    "berth check box1.yaml": "0 errors",
    "berth inspect --help": "usage: berth inspect",
    "berth man": ".TH",
    "berth man berthctl": ".TH",
    "berth completion bash": "complete",
}
MEANT = {"FILE": "box1.yaml", "VERB": "inspect"}  # what a reader puts for the page's capitals
ELSEWHERE = {
    "make run": Elsewhere(
        file="qemu-tests/test_boot.py",
        test="test_make_run_boots_the_iso_to_its_first_healthy_container",
        words='make("run")',
    ),
    f"{BERTH} run podman": Elsewhere(
        file="qemu-tests/test_boot.py", test="test_a_terminal_becomes_the_console", words='"run", "podman"'
    ),
    "berth connect HOST status": Elsewhere(
        file="qemu-tests/test_machine.py",
        test="test_berth_connect_runs_verbs_from_outside",
        words='connect(running, "berth", "status")',
    ),
    "berthctl status": Elsewhere(
        file="qemu-tests/test_machine.py", test="test_the_reading_verbs_show_what_runs", words="berthctl status"
    ),
    "git clone … berth && cd berth": Elsewhere(
        file="tests/builder/test_build_reproducible.py",
        test="test_a_stranger_without_rights_network_and_host_tools_gets_the_same_bytes",
        words='strange(nursery, folder, "minimal")',
    ),
    "BERTH_MIRROR=https://HOST/debian make run": Elsewhere(
        file="tests/builder/test_mirrors.py", test="test_the_order", words="BERTH_MIRROR"
    ),
}
EVERYTHING = "make test"  # this very run


def commands() -> list[str]:
    """Return the page's commands without their comments: those of its blocks, and those named in its text."""
    typed = [line.partition("  #")[0].strip() for line in re.findall(r"(?m)^    (.+)$", without_documents(PAGE))]
    said = re.findall(r"`((?:berth|berthctl|make|BERTH_\w+=\S+) [^`]+|make)`", PAGE)
    return list(dict.fromkeys([*typed, *said]))


def documents(page: str) -> list[str]:
    """Return the configurations among the page's blocks."""
    blocks = re.findall(r"(?m)(?:^    .*\n)+", page)
    return [re.sub("(?m)^    ", "", block) for block in blocks if block.startswith("    #cloud-config")]


def without_documents(page: str) -> str:
    for document in documents(page):
        page = page.replace(re.sub("(?m)^(?=.)", "    ", document), "")
    return page


def meant(command: str) -> str:
    return re.sub("|".join(MEANT), lambda found: MEANT[found[0]], command)


def test_every_command_of_the_page_is_run_somewhere() -> None:
    found = {meant(each) for each in commands()}
    assert found == {*TYPED, *ELSEWHERE, EVERYTHING}


@pytest.mark.parametrize("command", ELSEWHERE)
def test_what_is_run_elsewhere_is_run_by_a_test_that_is_there(command: str) -> None:
    other = ELSEWHERE[command]
    text = (ROOT / other.file).read_text()
    found = [
        node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef) and node.name == other.test
    ]
    assert len(found) == 1, f"{other.file} has no {other.test}"
    assert other.words in (ast.get_source_segment(text, found[0]) or "")


def test_ci_runs_all_tests() -> None:
    assert EVERYTHING in (ROOT / ".ci/run").read_text().splitlines()


def test_the_verbs_of_a_machine_that_the_page_names_are_there() -> None:
    [sentence] = re.findall(r"On the machine `berthctl status`, ([^;]+);", PAGE.replace("\n", " "))
    named = set(re.findall(r"`(\w+)`", sentence))
    assert named
    assert named <= set(berthctl.VERBS)


def test_the_pages_configuration_is_valid() -> None:
    [document] = documents(PAGE)
    compiled = compile_document(document.encode(), file="README.md")
    assert compiled.diagnostics == ()
    assert compiled.machine is not None
    assert compiled.machine.hostname == "box1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder like a clone's, with the caches of this one and results of its own."""
    clone = tmp_path_factory.mktemp("reader") / "berth"
    for name in ("steps", "tools", "locks"):
        (ROOT / "build" / name).mkdir(parents=True, exist_ok=True)
    (clone / "build").mkdir(parents=True)
    for place, own in ((ROOT, clone), (ROOT / "build", clone / "build")):
        for path in place.iterdir():
            if path.name not in ("build", "out"):
                (own / path.name).symlink_to(path)
    (clone / "box1.yaml").write_text(documents(PAGE)[0])
    return clone


def environment() -> dict[str, str]:
    """A reader's own, with the `berth` of this clone on the path."""
    kept = {name: text for name, text in os.environ.items() if name not in ("PYTHONPATH", "MAKEFLAGS", "MAKELEVEL")}
    return {**kept, "PATH": f"{ROOT / '.venv/bin'}:{kept['PATH']}"}


def typed_as(command: str) -> str:
    more = next((words for begin, words in MORE.items() if command.startswith(begin)), "")
    return f"{command} {more}".strip()


@pytest.mark.packages
def test_the_pages_commands_do_what_it_says(folder: Path) -> None:
    """One after the other, as a reader types them: each goes on from what those before it left."""
    for command, said in TYPED.items():
        done = subprocess.run(
            ["bash", "-c", typed_as(command)], cwd=folder, env=environment(), capture_output=True, text=True,
            stdin=subprocess.DEVNULL, timeout=_BOUND, check=False,
        )  # fmt: skip
        # `doctor` finds what is wrong with this computer; whether anything is, is not the subject.
        assert done.returncode in ((0, 1) if command.endswith("doctor") else (0,)), f"{command}\n{done.stderr}"
        assert said in done.stdout + done.stderr, f"{command}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
