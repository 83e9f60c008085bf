"""Following imports in byte code: the program itself, run by this Python over files of its own making."""

from __future__ import annotations

import json
import py_compile
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import builder.image.scan_imports

PROGRAM = builder.image.scan_imports.__file__

SOURCES = {
    "own/__init__.py": "",
    "own/main.py": "import sys\nfrom own import part\nfrom .deep import leaf\nimport os.path\n"
    "def late():\n    from own.late import thing\n",
    "own/part.py": "from library import used\n",
    "own/late.py": "thing = 1\n",
    "own/deep/__init__.py": "",
    "own/deep/leaf.py": "from .. import sibling\nclass A:\n    import library.inner\n",
    "own/sibling.py": "x = [__import__ for _ in ()]\n",
    "own/unused.py": "import nothing_of_this_name\n",
    "own/typed.py": "TYPE_CHECKING = False\nif TYPE_CHECKING:\n    import nobody\n    from own import late\nelse:\n"
    "    import own.part\nif not TYPE_CHECKING:\n    import own.sibling\n",
    "library/__init__.py": "def used():\n    import library.rare\n",
    "library/inner.py": "try:\n    import winreg_of_windows\nexcept ImportError:\n    pass\n",
    "library/rare.py": "",
    "library/outer.py": "import library.inner\n",
}


def scan(
    folder: Path, roots: list[str], *, form: str = "pyc", without: tuple[str, ...] = (), later: tuple[str, ...] = ()
) -> dict[str, Any]:
    modules = {}
    for name, text in SOURCES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if form == "pyc":
            path = Path(py_compile.compile(str(path), cfile=str(path) + "c", doraise=True))
        dotted = name.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        modules[dotted] = {"file": str(path), "form": form, "package": name.endswith("__init__.py")}
    request = {"modules": modules, "roots": roots, "late": ["own."], "without": without, "later": later}
    done = subprocess.run(
        [sys.executable, "-sSBP", PROGRAM],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("form", ["pyc", "py"])
def test_own_late_imports_are_followed_and_the_library_s_are_not(tmp_path: Path, form: str) -> None:
    reply = scan(tmp_path, ["own.main"], form=form)
    assert reply["found"] == [
        "library", "library.inner", "own", "own.deep", "own.deep.leaf", "own.late", "own.main", "own.part",
        "own.sibling",
    ]  # fmt: skip
    assert reply["missing"] == {}


def test_what_one_of_ours_imports_and_nobody_has_is_missing(tmp_path: Path) -> None:
    assert scan(tmp_path, ["own.unused"])["missing"] == {"nothing_of_this_name": "own.unused"}


def test_what_the_library_does_without_is_left_out_but_not_what_is_ours(tmp_path: Path) -> None:
    reply = scan(tmp_path, ["library.outer"], without=("library.inner",))
    assert reply["found"] == ["library", "library.outer"]
    assert "library.inner" in scan(tmp_path, ["own.main"], without=("library.inner",))["found"]


def test_what_comes_later_is_left_out_even_where_it_is_ours(tmp_path: Path) -> None:
    reply = scan(tmp_path, ["own.main"], later=("own.late",))
    assert "own.late" not in reply["found"]
    assert reply["missing"] == {}


def test_a_root_that_is_nowhere_is_missing(tmp_path: Path) -> None:
    assert "own.gone" in scan(tmp_path, ["own.gone"])["missing"]


def test_byte_code_of_another_python_is_refused(tmp_path: Path) -> None:
    alien = tmp_path / "alien.pyc"
    alien.write_bytes(b"\x00\x01\r\n" + bytes(12))
    request = {
        "modules": {"alien": {"file": str(alien), "form": "pyc", "package": False}},
        "roots": ["alien"],
        "late": [],
        "without": [],
        "later": [],
    }
    done = subprocess.run(
        [sys.executable, PROGRAM], input=json.dumps(request), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "another Python" in done.stderr


@pytest.mark.parametrize("form", ["pyc", "py"])
def test_what_is_for_type_checkers_alone_is_not_followed(tmp_path: Path, form: str) -> None:
    reply = scan(tmp_path, ["own.typed"], form=form)
    assert reply["found"] == ["library", "own", "own.part", "own.sibling", "own.typed"]
    assert reply["missing"] == {}
