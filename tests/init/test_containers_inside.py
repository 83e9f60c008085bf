"""What a container's own files say of its users, and the programs around it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from init.containers.bundle import BundleError
from init.containers.inside import account, read_inside
from init.formats.exitstatus import NOT_YET

ROOT = Path(__file__).parents[2]
# the registry of these tests is a thread, and a layer is unpacked by a fork: Python 3.12 warns of any such pair
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


# --- accounts inside -------------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "root/etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nbad line\nweb:x:7:8::/srv:/bin/sh\n")
    (tmp_path / "root/etc/group").write_text("root:x:0:\nmore:x:9:web,other\nweb:x:8:\n")
    return tmp_path / "root"


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", (0, 0, (), "/root")),
        ("web", (7, 8, (9,), "/srv")),
        ("7", (7, 8, (9,), "/srv")),
        ("1000", (1000, 0, (), "/")),
        ("web:more", (7, 9, (), "/srv")),
        ("1000:1000", (1000, 1000, (), "/")),
    ],
)
def test_users(root: Path, user: str, expected: tuple[Any, ...]) -> None:
    found = account(str(root), user)
    assert (found.uid, found.gid, found.groups, found.home) == expected


@pytest.mark.parametrize("user", ["nobody-here", "web:nobody-here"])
def test_an_unknown_user_is_said(root: Path, user: str) -> None:
    with pytest.raises(BundleError, match="nobody-here"):
        account(str(root), user)


def test_links_do_not_lead_out_of_the_root(root: Path) -> None:
    (root.parent / "secret").write_text("secret:x:0:0::/:/bin/sh\n")
    (root / "etc/passwd").unlink()
    for target in ("../../secret", "/../secret", str(root.parent / "secret")):
        (root / "etc/passwd").symlink_to(target)
        with pytest.raises(OSError, match=r".*"):
            read_inside(str(root), "etc/passwd")
        (root / "etc/passwd").unlink()
    (root / "real").write_text("inside")
    (root / "etc/passwd").symlink_to("/real")
    assert read_inside(str(root), "/etc/passwd") == b"inside"
    (root / "etc/loop").symlink_to("loop")
    with pytest.raises(OSError, match=r".*"):
        read_inside(str(root), "etc/loop")


# --- the programs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "words", "status"),
    [
        ("run", ("run", "no-such-container"), 125),
        ("run", ("fetch", "no-such-container"), 125),
        ("run", (), 2),
        ("probe", ("http", "no-such-container", "1", "http://127.0.0.1/"), NOT_YET),
        ("probe", ("tcp", "no-such-container", "1", "nonsense"), NOT_YET),
        ("probe", ("exec", "no-such-container", "1", "podman", "true"), NOT_YET),
        ("probe", (), 2),
    ],
)
def test_programs_say_one_line_and_end(program: str, words: tuple[str, ...], status: int) -> None:
    code = f"import sys; from init.containers.{program} import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        (sys.executable, "-ISBc", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}", *words),
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr
