"""Solves with apt 3 from the tools tree: the reference, whose explanations are in words.

apt gets a private folder: an empty dpkg status, and one index with the candidates that the requests can lead to,
already verified by us and without the waived dependencies. It only simulates (`-s`): asks no mirror, installs nothing.
Options: apt-get(8), apt.conf(5), and `doc/examples/configure-index` of apt's source.
"""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING

from builder.errors import LockError, ToolError
from builder.lock.closure import Unsolvable
from builder.lock.depends import needed_groups, parse_group
from builder.lock.universe import fulfilling

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from builder.fetch.store import Store
    from builder.lock.model import LockedPackage
    from builder.lock.universe import Universe
    from builder.recipe.model import Waiver
    from builder.tools.call import Tools

_INDEX = "index.invalid_dists_berth_main_binary-{}_Packages"  # how apt names the list of the source below
_SOURCE = "deb [trusted=yes] http://index.invalid/ berth main\n"  # trusted: what is laid there was verified here

# apt asks each method what it can do even when it only simulates. This one can do nothing, in words of the shell alone.
_METHOD = """\
#!/bin/sh
printf '100 Capabilities\\nVersion: 1.2\\nSingle-Instance: true\\n\\n'
while read -r line; do :; done
"""

_SETTINGS = """\
Dir "{root}";
Dir::State "{root}";
Dir::State::lists "{root}/lists";
Dir::State::status "{root}/status";
Dir::State::extended_states "{root}/extended_states";
Dir::Cache "{root}/cache";
Dir::Etc "{root}/etc";
Dir::Etc::sourceparts "none";
Dir::Log "{root}/log";
Dir::Bin::methods "{root}/methods";
Dir::Bin::dpkg "{root}/none";
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Install-Recommends "false";
APT::Install-Suggests "false";
APT::Solver "3.0";
APT::Get::Show-Versions "false";
Acquire::Languages "none";
"""


class AptSolver:
    """Solves with the tools tree's apt."""

    name = "apt"

    def __init__(self, tools: Tools, store: Store, architecture: str) -> None:
        """Run the apt of `tools` in private folders of `store`."""
        self._tools = tools
        self._store = store
        self._architecture = architecture

    def solve(self, universe: Universe, requests: Sequence[str], waive: Sequence[Waiver]) -> tuple[LockedPackage, ...]:
        """Return a set, sorted by name, with all `requests` and what they need. Raises Unsolvable, ToolError."""
        known = reachable(universe, requests, waive)
        root = self._store.scratch()
        try:
            settings = _lay_out(root, self._architecture, known.values(), waive)
            output = self._tools.run(
                "apt-get", "-s", "-qq", "install", *requests, env={"APT_CONFIG": str(settings)}, cwd=root
            )
        except ToolError as failure:
            raise _explained(failure, requests) from None
        finally:
            shutil.rmtree(root, ignore_errors=True)
        names = sorted(set(re.findall(r"^Inst (\S+) ", output.decode(), re.MULTILINE)))
        if missing := [name for name in names if name not in known]:
            raise LockError(f"apt chose what it was not offered: {', '.join(missing)}")
        return tuple(known[name] for name in names)


def reachable(universe: Universe, requests: Iterable[str], waive: Sequence[Waiver]) -> dict[str, LockedPackage]:
    """Return every candidate that any choice of alternatives could lead to, by name. A superset of each answer."""
    found: dict[str, LockedPackage] = {}
    queue = list(requests)
    done = set(queue)
    for name in queue:
        package = universe.candidate(name)
        if package is None:
            continue
        found[name] = package
        for group in needed_groups(package, waive):
            for relation in parse_group(group):
                for option in fulfilling(universe, relation):
                    if option.name not in done:
                        done.add(option.name)
                        queue.append(option.name)
    return found


def render_index(packages: Iterable[LockedPackage], waive: Sequence[Waiver]) -> str:
    """Return a `Packages` file that says only what a solver reads, without the waived dependencies.

    `:any` goes, too: there is one architecture, so that every package of a name fits.
    """
    records = []
    for package in sorted(packages, key=lambda package: package.name):
        lines = [
            f"Package: {package.name}",
            f"Version: {package.version}",
            f"Architecture: {package.architecture}",
            f"Filename: {package.filename}",
            f"Size: {package.size}",
            f"SHA256: {package.sha256}",
            "Multi-Arch: foreign",
        ]
        for field, groups in (
            ("Depends", needed_groups(package, waive)),
            ("Provides", package.provides),
            ("Conflicts", package.conflicts),
        ):
            if groups:
                lines.append(
                    f"{field}: " + ", ".join(re.sub(r":[a-z0-9-]+(?=[\s,|(]|$)", "", group) for group in groups)
                )
        records.append("\n".join(lines) + "\n")
    return "\n".join(records)


def _lay_out(root: Path, architecture: str, packages: Iterable[LockedPackage], waive: Sequence[Waiver]) -> Path:
    """Make apt's private folder and return its settings file."""
    for folder in ("lists/partial", "cache/archives/partial", "etc/apt.conf.d", "etc/preferences.d", "methods", "log"):
        (root / folder).mkdir(parents=True)
    (root / "status").write_bytes(b"")
    (root / "etc/sources.list").write_text(_SOURCE, encoding="utf-8")
    (root / "lists" / _INDEX.format(architecture)).write_text(render_index(packages, waive), encoding="utf-8")
    method = root / "methods/http"
    method.write_text(_METHOD, encoding="ascii")
    method.chmod(0o755)
    settings = root / "apt.conf"
    settings.write_bytes(os.fsencode(_SETTINGS.format(root=_quoted(root), architecture=architecture)))
    return settings


def _quoted(path: Path) -> str:
    """Return a path as it stands between quotes in apt.conf(5), which has no escapes. Raises LockError."""
    text = str(path)
    if '"' in text or "\n" in text:
        raise LockError(
            f"apt cannot work below {text}: a folder's name has a quote", hint="set BERTH_CACHE to another folder"
        )
    return text


def _explained(failure: ToolError, requests: Sequence[str]) -> Unsolvable | ToolError:
    """Turn apt's own explanation into ours; anything else stays a failed tool."""
    text = failure.message
    at = text.find("Unable to satisfy dependencies")
    if at < 0:
        return failure
    lines = [line.removeprefix("E: ").rstrip() for line in text[at:].splitlines()[1:]]
    words = re.sub(r":(?:amd64|arm64|all)\b", "", "\n".join(line for line in lines if not line.startswith("W: ")))
    named = set(re.findall(r"[a-z0-9][a-z0-9+.-]+", words))
    return Unsolvable("two decisions contradict each other:\n" + words, named & set(requests) or named)
