"""Root's rights over one's own files, for tests that enter a root tree: root has them, others in a user namespace."""

from __future__ import annotations

import os
import subprocess

import pytest

CURE = (
    "an ordinary user needs user namespaces for this test. Cure: `sysctl kernel.unprivileged_userns_clone=1` (Debian), "
    "`sysctl kernel.apparmor_restrict_unprivileged_userns=0` (Ubuntu), or run it as root"
)


def as_root(*namespaces: str) -> list[str]:
    """Return the words that start a program as root, in `namespaces` of its own (options of unshare(1)).

    Inside, an ordinary user is root and owns what was his; there is no other id.
    """
    mapped = [] if os.geteuid() == 0 else ["--map-root-user"]
    words = ["unshare", *mapped, *namespaces] if mapped or namespaces else []
    tried = subprocess.run([*words, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.fail(f"`{' '.join(words)}`: {tried.stderr.strip()}: {CURE}")
    return words
