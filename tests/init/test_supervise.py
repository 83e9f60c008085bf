"""The loop, the services' machines and the kernel together, as PID 1 of a namespace."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from init.formats import events

pytestmark = pytest.mark.long  # real processes

REPOSITORY = Path(__file__).resolve().parents[2]
DRIVER = REPOSITORY / "tests/namespaces/supervise.py"
SHELL = "/bin/sh"


def cgroup_top() -> Path | None:
    """A cgroup of our own, where this machine lets us make one; without, services are killed by session."""
    for base in (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")):
        if (base / "cgroup.procs").exists():
            folder = base / f"berth-test-{os.getpid()}"
            with contextlib.suppress(OSError):
                folder.mkdir()
                return folder
    return None


@pytest.fixture(params=["cgroup", "no cgroup"])
def top(request):
    folder = cgroup_top() if request.param == "cgroup" else None
    yield str(folder) if folder else ""
    if folder:
        for inner, names, _ in os.walk(folder, topdown=False):
            for name in names:
                (Path(inner) / name).rmdir()
        folder.rmdir()


def supervise(top: str, services: list[dict], script: list[dict], seconds: float = 30) -> tuple[list[dict], dict]:
    # `FOLDER/` in a service stands for a folder of the test's own.
    with tempfile.TemporaryDirectory() as folder:
        plan = {"services": services, "script": script, "top": top, "seconds": seconds}
        text = json.dumps(plan).replace("FOLDER/", f"{folder}/")
        return _supervise(json.dumps({**json.loads(text), "folder": folder}))


def _supervise(plan: str) -> tuple[list[dict], dict]:
    command = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount", "--mount-proc"]
    done = subprocess.run(
        [*command, sys.executable, "-B", str(DRIVER)],
        input=plan.encode(),
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[-1]["end"]
    assert lines[-1]["faults"] == []
    return lines[:-1], lines[-1]


def sh(script: str, **fields: object) -> dict:
    return {"argv": [SHELL, "-c", script], **fields}


def seen(lines: list[dict]) -> list[str]:
    """Return the events in order, without those whose place hangs on when a program comes to its first line."""
    told = (line for line in lines if "event" in line and line["event"] != events.CONTAINER_OUTPUT)
    return [f"{line['event']}:{line['name']}" for line in told]


def test_started_killed_restarted_stopped_and_logged(top):
    web = sh("echo up $$; exec sleep 1000", name="web", is_container=True, image="i", after=["base"])
    base = sh("echo base; exec sleep 1000", name="base")
    lines, end = supervise(
        top,
        [web, base],
        [
            {"on": "log:web up 2", "do": "none", "name": ""},
            {"on": "container.started:web", "do": "kill", "name": "web", "delay": 0.1},
            {"on": "container.started:web", "count": 2, "do": "close", "name": "", "delay": 0.1},
        ],
    )
    assert seen(lines) == [
        "service.ready:base",
        "container.started:web",
        "container.exited:web",
        "container.started:web",
        "container.exited:web",
    ]
    exits = [line["status"] for line in lines if line.get("event") == "container.exited"]
    assert exits == [-9, -15]
    assert end["at_rest"]
    assert end["states"]["web"]["state"] == end["states"]["base"]["state"] == "stopped"
    assert end["states"]["web"]["restarts"] == 1
    # web came after base, so it is gone before base is asked to stop
    assert end["states"]["web"]["since"] <= end["states"]["base"]["since"]
    assert "base" in [line["text"] for line in lines if line.get("log") == "base"]
    assert end["files"]["base.log"].endswith(" base\n")
    assert end["files"]["web.log"].count(" up ") == 2
    killed = next(line["t"] for line in lines if line.get("event") == "container.exited")
    again = [line["t"] for line in lines if line.get("event") == "container.started"][1]
    assert again - killed >= 0.19


def test_back_off_doubles(top):
    flappy = sh("echo once; exit 3", name="flappy", restart_limit=3)
    lines, end = supervise(top, [flappy], [{"on": "service.failed:flappy", "do": "close", "name": ""}])
    times = [line["t"] for line in lines if line.get("text") == "once"]
    assert len(times) == 4
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert pauses[0] >= 0.2
    assert pauses[1] >= 0.4
    assert pauses[2] >= 0.8
    assert [line["restarts"] for line in lines if line.get("event") == "service.failed"] == [3]
    assert end["states"]["flappy"]["status"] == 3


def test_what_ignores_the_stop_is_killed_with_all_its_children(top):
    stubborn = sh(
        "trap '' TERM; sleep 1000 & echo child $!; while :; do sleep 1; done",
        name="stubborn",
        stop_timeout=0.3,
        cleanup=[[SHELL, "-c", "echo cleaned; ls /proc | grep -c '^[0-9]'"]],
    )
    lines, end = supervise(top, [stubborn], [{"on": "service.ready:stubborn", "do": "close", "name": "", "delay": 0.3}])
    assert end["states"]["stubborn"]["state"] == "stopped"
    assert end["states"]["stubborn"]["status"] == -9
    texts = [line["text"] for line in lines if line.get("log") == "stubborn"]
    assert "cleaned" in texts
    assert any("did not stop within" in text for text in texts)


def test_notify_prepare_and_probe(top):
    notify = (
        "import os,socket,time; s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM);"
        "s.sendto(b'READY=1\\n',os.environ['NOTIFY_SOCKET']); time.sleep(1000)"
    )
    daemon = {
        "name": "daemon",
        "argv": [sys.executable, "-ISc", notify],
        "readiness": "notify",
        "prepare": [[SHELL, "-c", "echo first"], [SHELL, "-c", "echo second > FOLDER/second"]],
    }
    web = sh(
        "exec sleep 1000",
        name="web",
        is_container=True,
        image="i",
        after=["daemon"],
        probe={
            "argv": [SHELL, "-c", "test -e FOLDER/well"],
            "interval": 0.3,
            "timeout": 2,
            "retries": 2,
            "start_period": 0,
        },
    )
    helper = sh("sleep 1.5; exec touch FOLDER/well", name="helper", readiness="exit", after=["web"])
    lines, end = supervise(
        top, [web, daemon, helper], [{"on": "container.healthy:web", "do": "close", "name": "", "delay": 0.2}]
    )
    events = seen(lines)
    assert events[0] == "service.ready:daemon"
    assert "container.unhealthy:web" in events
    assert events.index("container.unhealthy:web") < events.index("container.healthy:web")
    assert "first" in [line["text"] for line in lines if line.get("log") == "daemon"]
    assert end["states"]["web"]["restarts"] >= 1


def test_a_program_that_is_not_there_says_so_in_its_log(top):
    lines, end = supervise(
        top,
        [{"name": "ghost", "argv": ["/nonexistent/program"], "restart": "no"}],
        [{"on": "service.failed:ghost", "do": "close", "name": ""}],
    )
    assert any("No such file" in line.get("text", "") for line in lines)
    assert end["states"]["ghost"]["status"] == 127
