"""`.ci/setup`: what it can't work with is told in one line with the cure, and what it can is enough."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]

# Stands before the real interpreter and hides what a host may lack.
WRAPPER = """#!/bin/sh
real='{python}'
case "$*" in
{cases}
esac
exec "$real" "$@"
"""
NO_ENSUREPIP = "*'import ensurepip'*) exit 1;;"
NO_PIP = "*'import pip'*) exit 1;;"
NO_VENV = "*'-m venv'*) echo 'No module named venv' >&2; exit 1;;"
HOST_HAS_PIP = '*\'import pip\'*) PYTHONPATH=hosts exec "$real" "$@";;'
# Stands for the host's pip, of any age: the call is noted, and whether the libraries beside it are seen.
PIP = """
import importlib.util, pathlib, shutil, sys, time
beside = importlib.util.find_spec("beside_pip") is not None
pathlib.Path("pip.called").write_text("\\n".join([sys.prefix, str(beside), *sys.argv[1:]]))
{then}
"""
OLD = "*version_info*) exit 1;;\n*--version*) echo Python 3.10.13; exit 0;;"


def test_every_library_is_bound_below_what_may_break_and_what_is_installed_fits() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    libraries = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    for text in libraries:
        assert re.search(r",<[0-9.]+(;|$)", text), text
    met = [Requirement(text) for text in project["project"]["dependencies"]]
    for library in met:
        if library.marker is None or library.marker.evaluate():
            assert library.specifier.contains(version(library.name)), library


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A clone as far as setup sees it, in a path with blanks and accents."""
    folder = tmp_path / "Übung with blanks & «quotes»"
    (folder / ".ci").mkdir(parents=True)
    shutil.copyfile(ROOT / ".ci" / "setup", folder / ".ci" / "setup")
    shutil.copyfile(ROOT / "Makefile", folder / "Makefile")
    shutil.copyfile(ROOT / "pyproject.toml", folder / "pyproject.toml")
    return folder


def hosts_pip(folder: Path, then: str) -> None:
    """Give the host a pip, among other libraries, that does what `then` says."""
    (folder / "hosts" / "pip").mkdir(parents=True, exist_ok=True)
    (folder / "hosts" / "beside_pip.py").touch()
    (folder / "hosts" / "pip" / "__init__.py").touch()
    (folder / "hosts" / "pip" / "__main__.py").write_text(PIP.format(then=then))


def setup(folder: Path, *cases: str, pip: str = "") -> subprocess.CompletedProcess[str]:
    """Run `make setup` with a Python that lacks things. `pip` is what the host's does where there is one."""
    hosts_pip(folder, pip)
    python = folder / "a python"
    python.write_text(WRAPPER.format(python=sys.executable, cases="\n".join(cases)))
    python.chmod(0o755)
    return make(folder, str(python))


def make(folder: Path, python: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", "setup", f"PYTHON={python}"], cwd=folder, capture_output=True, text=True,
        check=False, env={"PATH": "/usr/bin:/bin", "HOME": str(folder)},
    )  # fmt: skip


def assert_one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Of make's own words only its usual last line stands beside ours."""
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if not line.startswith("make: ***")]
    assert len(said) == 1, done.stderr
    assert said[0].startswith("berth: ")
    for word in words:
        assert word in said[0]


def test_a_python_that_is_too_old(folder: Path) -> None:
    assert_one_line(setup(folder, OLD), "Python 3.10.13 is too old", "Install Python 3.11", "make setup PYTHON=")
    assert not (folder / ".venv").exists()


def test_no_python_at_all(folder: Path) -> None:
    assert_one_line(make(folder, "/nonexistent/python3"), "no /nonexistent/python3 here", "make setup PYTHON=")


def test_neither_ensurepip_nor_pip(folder: Path) -> None:
    assert_one_line(setup(folder, NO_ENSUREPIP, NO_PIP), "neither ensurepip nor pip", "apt-get install python3-pip")


def test_no_venv(folder: Path) -> None:
    assert_one_line(setup(folder, NO_VENV), "cannot make a virtual environment", "apt-get install python3-venv")


def test_without_ensurepip_the_hosts_pip_installs_into_the_environment(folder: Path) -> None:
    """Without `--python`, which pip has since 22.3 only; Ubuntu 22.04's has 22.0."""
    done = setup(folder, NO_ENSUREPIP, HOST_HAS_PIP)
    assert done.returncode == 0, done.stderr
    prefix, beside, *words = (folder / "pip.called").read_text().splitlines()
    assert prefix == str(folder / ".venv")
    assert beside == "False"
    assert words == ["install", "--quiet", "--editable", ".[test]"]
    assert (folder / ".venv" / "ready").exists()
    assert (folder / ".venv" / "bin" / "python").exists()


def test_what_pip_cannot_do_is_told_and_tried_again(folder: Path) -> None:
    done = setup(folder, NO_ENSUREPIP, HOST_HAS_PIP, pip="sys.exit(1)")
    assert done.returncode != 0
    assert "HTTPS_PROXY" in done.stderr
    assert "PIP_INDEX_URL" in done.stderr
    assert not (folder / ".venv" / "ready").exists()
    assert setup(folder, NO_ENSUREPIP, HOST_HAS_PIP).returncode == 0


def test_a_broken_environment_is_made_anew(folder: Path) -> None:
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "python").symlink_to("/nonexistent/python3")
    assert setup(folder, NO_ENSUREPIP, HOST_HAS_PIP).returncode == 0
    assert (folder / ".venv" / "bin" / "python").resolve().exists()


def test_the_command_begins_with_what_hears_ctrl_c(folder: Path) -> None:
    """Old pips read another module first; the lines are those of pip 23."""
    starter = folder / "starter"
    starter.write_text(
        "#!/bin/sh\n# -*- coding: utf-8 -*-\nimport re\nimport sys\nfrom builder.__main__ import main\n"
        "if __name__ == '__main__':\n    sys.argv[0] = re.sub(r'(-script\\.pyw|\\.exe)?$', '', sys.argv[0])\n"
        "    sys.exit(main())\n"
    )
    starter.chmod(0o755)
    assert setup(folder, NO_ENSUREPIP, HOST_HAS_PIP, pip="shutil.copy('starter', '.venv/bin/berth')").returncode == 0
    made = folder / ".venv" / "bin" / "berth"
    assert made.read_text() == (
        "#!/bin/sh\n# -*- coding: utf-8 -*-\nimport sys\nfrom builder.__main__ import main\n"
        "if __name__ == '__main__':\n    pass\n    sys.exit(main())\n"
    )
    assert made.stat().st_mode & 0o777 == 0o755


def test_an_environment_is_made_once_and_anew_where_its_folder_was_moved(folder: Path) -> None:
    lacks = (NO_ENSUREPIP, HOST_HAS_PIP)
    assert setup(folder, *lacks).returncode == 0
    (folder / "pip.called").unlink()
    assert setup(folder, *lacks).returncode == 0
    assert not (folder / "pip.called").exists()
    moved = folder.rename(folder.with_name("elsewhere, & (more)"))
    assert setup(moved, *lacks).returncode == 0
    assert (moved / "pip.called").exists()


@pytest.mark.parametrize("step", ["version_info", "'-m venv'", "'import ensurepip'", "'-m pip'"])
def test_ctrl_c_is_one_line_and_status_130(folder: Path, step: str) -> None:
    hosts_pip(folder, "open('there', 'w').close(); time.sleep(600)")
    waits = f'*{step}*) exec "$real" -c \'import time; open("there", "w").close(); time.sleep(600)\';;'
    lacks = () if "ensurepip" in step else (NO_ENSUREPIP,)
    python = folder / "a python"
    python.write_text(WRAPPER.format(python=sys.executable, cases="\n".join([waits, *lacks, HOST_HAS_PIP])))
    python.chmod(0o755)
    with subprocess.Popen(
        ["sh", ".ci/setup", str(python)], cwd=folder, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - a background job ignores it
    ) as process:  # fmt: skip
        while not (folder / "there").exists():
            assert process.poll() is None
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to all of them
        _, said = process.communicate()
    assert process.returncode == 130
    told = [line for line in said.splitlines() if line and "installing the builder" not in line]
    assert told == ["berth: stopped; make setup begins again where it was"]
    assert not (folder / ".venv" / "ready").exists()
