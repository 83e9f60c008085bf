"""What tests with real machines share: the tools tree, and each recipe built once."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(Path(__file__).parent))

from installed import Installed, install  # noqa: E402
from remote import Client, client_tools  # noqa: E402

from builder.cli.context import Context  # noqa: E402
from builder.cli.inputs import Network, ready_tools  # noqa: E402
from builder.tools.call import Tools  # noqa: E402

# A shell's background jobs ignore Ctrl-C, and so would everything that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["filetimes", "retries"]
# The longest files, longest first: a file runs on one worker, and whatever begins last, the other one waits for.
LONGEST = ("story", "update", "powercut", "containers", "install", "fallback", "boot", "degraded", "hardware")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the longest files begin first. Within a file the order stays: its tests go on from each other."""
    places = {f"test_{name}.py": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


Artifacts = dict[str, Path]  # by kind: iso, raw, qcow2, bundle, manifest, sbom


@pytest.fixture(scope="session")
def tools() -> Tools:
    """Return the tools tree of this repository's builds."""
    before = Path.cwd()
    os.chdir(ROOT)  # a build keeps its tree below the working folder
    try:
        return ready_tools(Context.create(quiet=True, as_json=False), Network(heal=True))
    finally:
        os.chdir(before)


@pytest.fixture(scope="session")
def built() -> Callable[..., Artifacts]:
    """Return a function that builds a recipe, once in this run, and gives its artifacts."""

    @functools.cache
    def build(recipe: str, *options: str) -> Artifacts:
        done = subprocess.run(
            [str(Path(sys.executable).with_name("berth")), "build", recipe, "--heal", "--json", *options],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return {one["kind"]: Path(one["path"]) for one in json.loads(done.stdout)["artifacts"]}

    return build


@pytest.fixture(scope="session")
def client(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Client:
    """Return the client half of SSH."""
    folder = tmp_path_factory.mktemp("ssh")
    return Client(client_tools(tools, folder / "tools"), folder)


@pytest.fixture(scope="session")
def installed(
    built: Callable[..., Artifacts], tools: Tools, client: Client, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Installed]:
    """Return a function that gives the disk that was installed with a firmware (`bios`, `uefi`), once in this run."""
    folder = tmp_path_factory.mktemp("installed")

    @functools.cache
    def of(firmware: str) -> Installed:
        key = client.key(f"installed-{firmware}")
        return install(built("minimal")["iso"], tools=tools, folder=folder, firmware=firmware, key=key)

    return of
