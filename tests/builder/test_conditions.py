"""The shoes in which builds are tried (`fakes.conditions`): an ordinary user has another id there, too."""

from __future__ import annotations

import json
import os
import traceback
from pathlib import Path

from fakes import conditions
from fakes.clone import NOBODY, open_folder

ORDINARY = 4321  # who it is, where root runs the tests
PR_SET_DUMPABLE = 4  # prctl(2): else /proc/self is root's after a setuid without an exec


def test_an_ordinary_user_builds_with_another_id() -> None:
    own = os.geteuid() or ORDINARY
    with open_folder() as folder:
        folder.mkdir()
        folder.chmod(0o777)
        seen = as_ordinary_user(folder)
        assert seen == {"before": own, "after": NOBODY, "file": NOBODY}
        assert (folder / "made").stat().st_uid == own


def as_ordinary_user(folder: Path) -> dict[str, int]:
    """Become an ordinary user, then another, in a process of its own; return what that sees."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(ORDINARY)
                os.setuid(ORDINARY)
                conditions.LIBC.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
            before = os.getuid()
            conditions.enter_namespaces(conditions.CLONE_NEWNS, NOBODY)
            conditions.drop_privileges(NOBODY)
            (folder / "made").touch()
            seen = {"before": before, "after": os.getuid(), "file": (folder / "made").stat().st_uid}
            os.write(writer, json.dumps(seen).encode())
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return dict(json.loads(said or b"{}"))
