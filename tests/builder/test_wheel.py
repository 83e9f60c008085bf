"""An ordinary installation, from a wheel: what Berth reads beside its code is there, and nothing of the clone is."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from fakes.clone import CODE

from builder.lock.file import read_lock

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.long
INSTALLED = ("builder", "init", "recipes")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder as an installer makes it of the wheel."""
    work = tmp_path_factory.mktemp("wheel")
    source, site = work / "source", work / "site"
    for name in CODE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(ROOT / name, source / name)
    build = "from setuptools import build_meta; build_meta.build_wheel('..')"
    done = subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = work.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def berth(site: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the installed `berth` in `folder`; without `site` the clone, which is installed as editable, is not seen."""
    libraries = sysconfig.get_paths()
    path = ":".join(dict.fromkeys([str(site), libraries["purelib"], libraries["platlib"]]))
    return subprocess.run(
        [sys.executable, "-S", "-m", "builder", *words], cwd=folder, capture_output=True, text=True, check=False,
        env={"PYTHONPATH": path, "BERTH_CACHE": str(folder / "cache"), "HOME": str(folder), "PATH": ""},
    )  # fmt: skip


def test_every_file_of_the_packages_is_in_the_wheel(site: Path) -> None:
    for package in INSTALLED:
        for path in (ROOT / package).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                assert (site / path.relative_to(ROOT)).read_bytes() == path.read_bytes()


def test_an_installed_berth_works_from_any_folder(site: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("#berth\nhostname: x\n")
    done = berth(site, tmp_path, "check", "config.yaml", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "own.yaml").write_text("extends: podman\n")
    done = berth(site, tmp_path, "build", "--offline", "own.yaml")
    assert "this recipe has no lock yet" in done.stderr
    done = berth(site, tmp_path, "build", "--offline", "minimal")
    assert done.returncode == 1, done.stderr
    for name in ("minimal", "tools"):
        assert f"packages of {name} are not in the store" in done.stderr
    done = berth(site, tmp_path, "tools", "--json", "--offline")
    told = json.loads(done.stdout)
    assert (done.returncode, told["code"]) == (1, "offline")
    tools = read_lock(ROOT / "recipes/tools.lock")
    assert all(f"{package.name} {package.version}" in told["message"] for package in tools.packages)
