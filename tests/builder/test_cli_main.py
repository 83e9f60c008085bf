"""The command line's manners: statuses, streams, and no traceback."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest

from builder.cli import main as cli
from builder.cli.explain import all_codes
from builder.errors import BerthError, FetchError
from builder.lock.file import read_lock, write_lock
from builder.lock.select import for_build
from builder.recipe import load

pytestmark = pytest.mark.long  # each call is a process of its own

ROOT = Path(__file__).resolve().parent.parent.parent


def berth(*words: str, cwd: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "builder", *words], capture_output=True, text=True, check=False,
        cwd=cwd or ROOT, env={"PYTHONPATH": str(ROOT), "HOME": "/nonexistent", "PATH": "", **more},
    )  # fmt: skip


def test_without_a_verb_help_is_printed_and_the_status_is_2() -> None:
    done = berth()
    assert done.returncode == 2
    assert "build" in done.stdout


def test_an_unknown_verb_is_wrong_usage() -> None:
    done = berth("biuld")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "invalid choice: 'biuld'" in done.stderr


@pytest.mark.parametrize("verb", [name for name, _ in cli.VERBS])
def test_each_verb_has_help_with_examples(verb: str) -> None:
    done = berth(verb, "--help")
    assert done.returncode == 0, done.stderr
    assert "examples:\n  berth " in done.stdout


def leaves(parser: argparse.ArgumentParser, *words: str) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """Give each parser that has no further ones below it, with the verbs that lead to it."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not below and not any(action.nargs == argparse.REMAINDER for action in parser._actions):
        yield words, parser
    for action in below:
        for name, sub in action.choices.items():
            yield from leaves(sub, *words, name)


def words_of(parser: argparse.ArgumentParser) -> list[list[str]]:
    """Return what a parser takes: each word, two where it takes several, and each option that it needs."""
    words = [[action.option_strings[0], "x"] for action in parser._actions if action.option_strings and action.required]
    for action in parser._get_positional_actions():
        names = getattr(action.type, "names", None) or action.choices or ["x.iso"]
        words += [[next(iter(names))]] * (2 if action.nargs in ("+", "*") else 1)
    return words


LEAVES = dict(leaves(cli.build_parser(*(name for name, _ in cli.VERBS))))


@pytest.mark.parametrize("verb", LEAVES, ids=" ".join)
def test_an_option_may_stand_anywhere(verb: tuple[str, ...]) -> None:
    """Before the verb, behind it, before and behind each of its words."""
    words = [*([word] for word in verb), *words_of(LEAVES[verb])]
    parser = cli.build_parser(verb[0])
    wanted = {**vars(parser.parse_args([*chain(*words)])), "json": True}
    for at in range(len(words) + 1):
        assert vars(parser.parse_args([*chain(*words[:at], ["--json"], *words[at:])])) == wanted


def test_lock_diff_takes_its_options_anywhere() -> None:
    words = ["lock", "diff", "recipes/minimal.lock", "recipes/minimal.lock"]
    for at in range(len(words) + 1):
        done = berth(*words[:at], "--json", *words[at:])
        assert done.returncode == 0, done.stdout + done.stderr
        assert json.loads(done.stdout)["changes"] == []


@pytest.mark.parametrize("family", all_codes().values(), ids=all_codes())
def test_every_failure_has_its_cure(family: type[BerthError], capsys: pytest.CaptureFixture[str]) -> None:
    """Where a sentence gives none of its own, the command that tells more is one."""
    error = BerthError("it went wrong")
    error.code = family.code
    cli.report(error, as_json=False)
    hint = capsys.readouterr().err.splitlines()[1].removeprefix("  try: ")
    cli.report(error, as_json=True)
    assert json.loads(capsys.readouterr().out)["hint"] == hint
    assert berth(*hint.split()[1:]).returncode == 0


def test_a_failure_as_json_is_one_object_on_standard_output() -> None:
    done = berth("explain", "--json", "nonsense")
    assert done.returncode == 2
    fact = json.loads(done.stdout)
    assert fact["format"] == "berth.error/1"
    assert fact["code"] == "usage"
    assert fact["hint"]


CTRL_C = """
import os, signal, sys
from builder.__main__ import main
left = int(sys.argv.pop(1))
def hook(event, arguments):
    global left
    left -= event == "import"
    if event == "import" and left == 0:
        os.kill(os.getpid(), signal.SIGINT)
sys.addaudithook(hook)
sys.exit(main())
"""


@pytest.mark.parametrize("number", [1, 2, 5, 20, 80, 160, 240])
def test_ctrl_c_while_berth_starts_is_a_sentence_and_130(number: int) -> None:
    """It comes at the n-th module that is read: the entry point's first, the command line's, the verb's."""
    done = subprocess.run(
        [sys.executable, "-c", CTRL_C, str(number), "build", "nosuch"], capture_output=True, text=True, check=False,
        cwd=ROOT, preexec_fn=hear_ctrl_c,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "\nberth: stopped; nothing is half-written\n")


def hear_ctrl_c() -> None:
    """Undo what a shell does to programs that it starts in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [("schema", "recipe"), ("explain", "x", "--json"), ("--help",)])
def test_results_that_a_full_disk_does_not_take_are_a_failure(words: tuple[str, ...], unbuffered: str) -> None:
    with Path("/dev/full").open("w") as full:
        status, told = into(full.fileno(), words, PYTHONUNBUFFERED=unbuffered)
    assert status == 1
    assert told.startswith("berth: standard output cannot be written: No space left on device\n  try: ")
    assert told.count("\n") == 2


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_standard_output_that_is_closed_is_said(unbuffered: str) -> None:
    status, told = into(None, ("schema", "recipe"), PYTHONUNBUFFERED=unbuffered)
    assert status == 1
    assert told.startswith("berth: standard output is closed\n  try: ")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away_ends_it_quietly(unbuffered: str) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        assert into(write, ("schema", "recipe"), PYTHONUNBUFFERED=unbuffered) == (141, "")
    finally:
        os.close(write)


def into(out: int | None, words: tuple[str, ...], **environment: str) -> tuple[int, str]:
    """Run `berth` with this descriptor as its standard output, or with none; return its status and what it told."""
    argv = [sys.executable, "-m", "builder", *words]
    if out is None:
        argv = ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *argv]
    done = subprocess.run(
        argv, stdout=out, stderr=subprocess.PIPE, text=True, check=False, cwd=ROOT, env={**os.environ, **environment}
    )
    return done.returncode, done.stderr


def test_a_failure_without_a_verb_is_told_as_every_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.meta_path", [])  # nothing more can be read
    monkeypatch.delitem(sys.modules, "importlib.metadata", raising=False)
    assert cli.main(["--version"]) == 1
    assert "a mistake in Berth itself" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        (("build", "minimal"), "berth fetch minimal"),
        (("fetch", "minimal"), "berth fetch minimal"),
        (("build", "--heal", "minimal"), "berth fetch minimal --heal"),
    ],
)
@pytest.mark.parametrize("healed", [False, True])
def test_offline_all_that_lacks_is_named_at_once(
    tmp_path: Path, words: tuple[str, ...], cure: str, healed: bool
) -> None:
    """With `--heal` the locks are meant that an earlier run healed."""
    locks = {name: ROOT / f"recipes/{name}.lock" for name in ("minimal", "tools")}
    recipe, tools = (read_lock(path) for path in locks.values())
    if healed:
        fresh = {}
        for name, path in locks.items():
            lock = read_lock(path)
            packages = (replace(lock.packages[0], version="99:healed"), *lock.packages[1:])
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            fresh[name] = replace(lock, packages=packages, healed_from=digest)
            write_lock(fresh[name], tmp_path / f"build/locks/{name}.lock")
        if "--heal" in words:
            recipe, tools = fresh.values()
    done = berth(words[0], "--offline", *words[1:], cwd=tmp_path, BERTH_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 1
    for package in (*tools.packages, *for_build(recipe, "full").packages):
        assert f"  {package.name} {package.version} ({package.size} bytes, SHA-256 {package.sha256})" in done.stderr
    assert done.stderr.splitlines()[-1] == f"  try: with a network: {cure}"


@pytest.fixture
def off(tmp_path: Path) -> Path:
    """Return a folder with recipe and lock in a folder beside: `../x/off.yaml`."""
    for name in ("here", "x"):
        (tmp_path / name).mkdir()
    (tmp_path / "x/off.yaml").write_text("extends: minimal\n")
    lock = (ROOT / "recipes/minimal.lock").read_text().replace('"recipe": "minimal"', '"recipe": "off"')
    (tmp_path / "x/off.lock").write_text(lock)
    return tmp_path / "here"


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        (("../x/off.yaml",), "../x/off.yaml"),
        (("minimal", "--set", "build.kernel=cloud"), "minimal --set build.kernel=cloud"),
        (
            ("../x/off.yaml", "--set", "build.cmdline=[a, b]", "--heal"),
            "../x/off.yaml --set 'build.cmdline=[a, b]' --heal",
        ),
    ],
)
def test_the_cure_of_what_lacks_offline_is_for_the_very_recipe_and_its_sets(
    off: Path, words: tuple[str, ...], cure: str
) -> None:
    done = berth("build", "--offline", *words, cwd=off, BERTH_CACHE=str(off / "cache"))
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1] == f"  try: with a network: berth fetch {cure}"


def test_the_cure_of_a_lock_that_does_not_fit_works_for_that_recipe(off: Path) -> None:
    def failure(*words: str, recipe: str = "../x/off.yaml") -> str:
        done = berth("build", "--offline", recipe, *words, cwd=off, BERTH_CACHE=str(off / "cache"))
        assert done.returncode == 1, done.stderr
        return done.stderr.splitlines()[-1]

    # `berth lock` would say that all is well: it is `--set` that the lock does not answer.
    said = failure("--set", "build.packages=[htop]")
    assert said.endswith("such as ../x/off-own.yaml (`extends: ./off.yaml`), then: berth lock ../x/off-own.yaml")
    own = off.parent / "x/off-own.yaml"
    own.write_text("extends: ./off.yaml\nbuild: {packages: [htop]}\n")
    assert "htop" in {request.name for request in load(own).build.packages}
    # A shipped recipe is extended from where the user is.
    said = failure("--set", "build.packages=[htop]", recipe="minimal")
    assert said.endswith("such as ./minimal-own.yaml (`extends: minimal`), then: berth lock ./minimal-own.yaml")
    (off / "minimal-own.yaml").write_text("extends: minimal\nbuild: {packages: [htop]}\n")
    assert "htop" in {request.name for request in load(off / "minimal-own.yaml").build.packages}
    with (off.parent / "x/off.yaml").open("a") as recipe:
        recipe.write("build: {packages: [htop]}\n")
    for sets in ((), ("--set", "build.kernel=cloud")):
        assert failure(*sets) == "  try: lock anew: berth lock ../x/off.yaml"
    (off.parent / "x/off.lock").unlink()
    assert failure() == "  try: berth lock ../x/off.yaml"
    (off.parent / "x/off.lock").write_text("{}")
    assert failure().endswith("delete it and lock anew: berth lock ../x/off.yaml")


def test_locking_and_comparing_give_programs_documents_of_their_own(off: Path) -> None:
    done = berth("lock", "../x/off.yaml", "--json", cwd=off, BERTH_CACHE=str(off / "cache"))
    fact = json.loads(done.stdout)
    lock = read_lock(off.parent / "x/off.lock")
    assert fact == {
        "format": "berth.locked/1", "recipe": "off", "lock": "../x/off.lock", "written": False,
        "packages": len(lock.packages), "bytes": sum(one.size for one in lock.packages), "difference": None,
    }  # fmt: skip
    done = berth("lock", "diff", "../x/off.lock", "../x/off.lock", "--json", cwd=off, BERTH_CACHE=str(off / "cache"))
    assert json.loads(done.stdout)["format"] == "berth.lock-diff/1"


def test_what_a_stranger_wrote_does_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    cli.report(FetchError("404 \x1b[2J\x1b]0;x\x07\x9b\0 é\nline", hint="\x1bc"), as_json=False)
    told = capsys.readouterr().err
    assert told == "berth: 404 \ufffd[2J\ufffd]0;x\ufffd\ufffd\ufffd é\nline\n  try: \ufffdc\n"
