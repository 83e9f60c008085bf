"""Completion and man pages: every verb and every flag is there, and the shells that are here take the scripts."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from builder.cli import man
from builder.cli.commandtree import Command, read
from builder.cli.main import VERBS, build_parser
from builder.cli.shells import SHELLS

BERTH = read(build_parser(*(name for name, _ in VERBS)))


def every_word(root: Command) -> set[str]:
    return {
        word
        for command in root.walk()
        for word in (command.path[-1], *(flag for option in command.options for flag in option.flags))
    }


def test_the_tree_is_what_argparse_was_told() -> None:
    assert {verb.path[1] for verb in BERTH.verbs} == {name for name, _ in VERBS}
    run = next(verb for verb in BERTH.verbs if verb.path == ("berth", "run"))
    assert any(option.flags == ("--firmware",) and option.choices == ("bios", "uefi") for option in run.options)
    assert run.words[0].shown == "IMAGE|RECIPE"
    assert run.examples
    check = next(verb for verb in BERTH.verbs if verb.path == ("berth", "check"))
    assert any("network-config-v1" in option.choices for option in check.options)


@pytest.mark.parametrize("name", man.PAGES)
def test_a_man_page_has_every_verb_and_flag(name: str) -> None:
    page = man.page(name).replace("\\-", "-")
    tree = man.tree(name)
    for command in tree.walk():
        assert " ".join(command.path) in page
        for option in command.options:
            assert all(f"\\fB{flag}\\fR" in page for flag in option.flags)
        for example in command.examples:
            assert example.replace("\\", "\\e") in page
    assert "--socket" not in page  # what is hidden in --help is hidden here


@pytest.mark.parametrize("name", man.PAGES)
def test_a_man_page_is_clean_roff(name: str, tmp_path: Path) -> None:
    lines = man.page(name).splitlines()
    requests = {".TH", ".SH", ".SS", ".TP", ".PP", ".br", ".nf", ".fi", ".RS", ".RE"}
    assert {line.split()[0] for line in lines if line.startswith((".", "'"))} <= requests
    groff = shutil.which("groff")
    if groff:
        path = tmp_path / "page.1"
        path.write_text("\n".join(lines) + "\n")
        done = subprocess.run(
            [groff, "-man", "-Kutf8", "-Tutf8", "-z", str(path)], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_has_every_verb_and_flag(shell: str, tmp_path: Path) -> None:
    script = SHELLS[shell](BERTH)
    for word in every_word(BERTH):
        bare = word.lstrip("-") if shell == "fish" else word
        assert bare in script
    program = shutil.which(shell)
    if program:
        path = tmp_path / "script"
        path.write_text(script)
        done = subprocess.run([program, "-n", str(path)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        (["bu"], {"build"}),
        (["run", "--firmware", ""], {"bios", "uefi"}),
        (["run", "--med"], {"--media"}),
        (["run", "--config", "x", "--medi"], {"--media"}),
        (["cache", ""], {"info", "prune", "clean"}),
        (["check", "--dialect", "network"], {"network-config-v1", "network-config-v2"}),
        (["run", "--config", ""], set()),  # nothing of ours: the shell offers files
        (["--json", "inspect", "--fi"], {"--files"}),
        (["nonsense", "--"], {"--help", "--version", "--json", "--quiet"}),
    ],
)
def test_bash_completes(line: list[str], offered: set[str], tmp_path: Path) -> None:
    bash = shutil.which("bash")
    assert bash is not None, "this test needs bash, which every Debian has: apt install bash"
    path = tmp_path / "script"
    path.write_text(SHELLS["bash"](BERTH))
    ask = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _berth_complete; echo "${COMPREPLY[@]}"'
    done = subprocess.run(
        [bash, "--norc", "-c", ask, "bash", str(path), "berth", *line], capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) == offered
    assert done.stderr == ""
