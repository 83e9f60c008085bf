"""PID 1 of a namespace: the real loop over the real kernel, told what to do on stdin.

Started by `test_supervise.py` through unshare(1). stdin: one JSON object {"services": […], "top": cgroup folder or
"", "script": [[seconds, "kill"|"stop"|"restart"|"close", name], …], "seconds": when to give up}. stdout: JSON lines,
first of events and logs as they come, at the end one object of states.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys

from init.formats.service import Limits, Probe, Readiness, Restart, Service
from init.pid1 import lifecycle
from init.pid1.events import Announcer
from init.pid1.linux.kernel import Kernel
from init.pid1.logs import Line, Logs
from init.pid1.loop import Loop
from init.pid1.perform import Performer, Settings


def decode(value: dict) -> Service:
    for key in ("argv", "after", "stop", "environment", "prepare", "cleanup"):
        if value.get(key) is not None:
            value[key] = tuple(tuple(item) if isinstance(item, list) else item for item in value[key])
    if "probe" in value:
        value["probe"] = Probe(**{**value["probe"], "argv": tuple(value["probe"]["argv"])})
    if "limits" in value:
        value["limits"] = Limits(**value["limits"])
    if "readiness" in value:
        value["readiness"] = Readiness(value["readiness"])
    if "restart" in value:
        value["restart"] = Restart(value["restart"])
    return Service(**value)


def say(**fields: object) -> None:
    print(json.dumps(fields), flush=True)


def main() -> None:
    plan = json.loads(sys.stdin.read())
    kernel = Kernel()
    faults: list[str] = []
    loop = Loop(kernel, lambda where, error: faults.append(f"{where}: {error!r}"))
    logs = Logs(kernel, loop)
    announcer = Announcer(kernel, loop)
    settings = Settings(top=plan["top"] or "/proc/nonexistent", notify_folder=plan["folder"] + "/notify")
    performer = Performer(kernel, loop, logs, announcer, settings)

    def on_line(line: Line) -> None:
        say(log=line.name, text=line.text, t=line.t)

    def on_event(name: str, line: bytes) -> None:
        say(**json.loads(line))

    logs.listen(on_line)
    announcer.listen(on_event)
    logs.keep_in(plan["folder"] + "/logs", 1 << 20)
    signals = kernel.open_signals((signal.SIGCHLD,))

    def on_signal() -> None:
        kernel.read_signals(signals)
        performer.reap()

    loop.watch(signals, "signals", on_signal)

    def act(verb: str, name: str) -> None:
        running = performer.supervisor.services.get(name)
        if verb == "kill" and running is not None and running.main is not None:
            os.kill(running.main, signal.SIGKILL)
        elif verb == "stop":
            performer.post(name, lifecycle.Stop())
        elif verb == "restart":
            performer.post(name, lifecycle.Again())
        elif verb == "close":
            performer.close()

    def on_change() -> None:
        if performer.supervisor.closing and performer.at_rest():
            loop.finished = True

    performer.on_change = on_change
    rules = list(plan["script"])

    def on_rule(event: str, name: str | None) -> None:
        """Each rule fires once, when its event (`service.ready:web`) is seen for the n-th time."""
        for rule in rules:
            if rule["on"] == f"{event}:{name}":
                rule["count"] = rule.get("count", 1) - 1
                if rule["count"] == 0:
                    pause = rule.get("delay", 0)
                    loop.after(f"rule {id(rule)}", pause, lambda rule=rule: act(rule["do"], rule["name"]))

    announcer.listen(lambda event, line: on_rule(event, json.loads(line).get("name")))
    logs.listen(lambda line: on_rule("log", f"{line.name} {line.text}"))
    loop.after("bound", plan["seconds"], lambda: setattr(loop, "finished", True))
    performer.load([decode(value) for value in plan["services"]])
    loop.run()
    kept = plan["folder"] + "/logs"
    say(
        end=True,
        faults=faults,
        at_rest=performer.at_rest(),
        files={name: kernel.read(f"{kept}/{name}").decode() for name in kernel.names(kept)},
        states={
            name: {**{key: value for key, value in dataclasses.asdict(running).items() if key != "service"}}
            for name, running in performer.supervisor.services.items()
        },
    )


main()
