"""`berth run`, from options to an exit status."""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from builder.emulate import accelerator, disks, fault, nocloud, ports, timeline
from builder.emulate.command import TERMINAL, Drive, Firmware, Guest, arguments
from builder.emulate.image import detect
from builder.emulate.plain import plain
from builder.emulate.session import Session
from builder.emulate.watch import Phase, Watch
from builder.errors import GuestFailed
from init.formats import events

if TYPE_CHECKING:
    from typing import Any

    from builder.emulate.options import Forward, Options
    from builder.progress import Progress
    from builder.tools.call import Tools

SHOWN_LINES = 20
DEFAULT_TIMEOUT = 300.0  # seconds, with `until`
POWER_OFF_TIMEOUT = 90.0  # seconds from the power button to QEMU's end


def run(
    options: Options,
    *,
    tools: Tools,
    progress: Progress,
    out: TextIO,
    publishes: tuple[Forward, ...] = (),
    terminal: bool | None = None,
) -> int:
    """Run a machine to its end and return 0.

    `out` gets results: events as JSON lines, or the printed command. `publishes` are the ports that the machine's
    config publishes, used where `options` names none. `terminal` says whether the console is
    attached to this terminal (None: when there is one and nothing else is asked for).

    Raises InputError for what is no image or config, ToolError where QEMU fails, GuestFailed with the cause and
    the last lines of the console when the guest did not do what `options.until` says.
    """
    if terminal is None:
        terminal = has_terminal() and options.until is None and not options.json
    if options.print_command:
        # The command outlives this call, and so must the files that it names.
        folder = tempfile.mkdtemp(prefix="berth-run-")
        guest, _ = prepare(options, tools=tools, folder=Path(folder), publishes=publishes)
        out.write(shlex.join(tools.argv("qemu-system-x86_64", *arguments(replace(guest, console=TERMINAL)))) + "\n")
        if options.disk is not None and not options.disk.exists():
            progress.note(f"{options.disk} is not there yet: `berth run` makes it when it does not only print")
        if any(Path(folder).iterdir()):
            progress.note(f"what it reads of this run lies in {folder}: remove that folder when you no longer need it")
        else:
            Path(folder).rmdir()
        return 0
    with tempfile.TemporaryDirectory(prefix="berth-run-") as folder:
        guest, moved = prepare(options, tools=tools, folder=Path(folder), publishes=publishes)
        for sentence in moved:
            progress.note(sentence)
        for forward in guest.forwards:
            scheme = "http://" if forward.protocol == "tcp" else "udp "
            progress.note(f"{scheme}127.0.0.1:{forward.host}/ leads to port {forward.guest} of the guest")
        if terminal:
            progress.note("The guest's console follows. Ctrl-A X ends it; Ctrl-A C is QEMU's monitor.")
        try:
            with Session(guest, tools, attach=terminal) as session:
                return _follow(session, options, progress, out, terminal=terminal)
        except GuestFailed:
            if terminal or options.json or not fault.died_of_it((*session.console, *session.complaints)):
                raise
            progress.note(fault.TOLD)
        with Session(guest, tools, attach=terminal) as session:
            return _follow(session, options, progress, out, terminal=terminal)


def has_terminal() -> bool:
    """Tell whether the guest's console can be attached: it is typed into, seen, and the way out of it is explained."""
    return all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))


def prepare(
    options: Options, *, tools: Tools, folder: Path, publishes: tuple[Forward, ...] = ()
) -> tuple[Guest, list[str]]:
    """Return the guest for these options, with its files made in `folder`.

    With it come sentences for the person about ports that moved. A disk that lasts is not made for a command that is
    only printed.
    """
    image = detect(options.image, direct=options.direct)
    if options.disk is not None and not options.print_command:
        disks.made_if_missing(options.disk, image, tools)
    direct = None
    if options.direct:
        direct, root = disks.unpack_slot(image, folder)
        direct = replace(direct, cmdline=" ".join((direct.cmdline, *options.cmdline)))
        drives: tuple[Drive, ...] = (Drive(path=root, read_only=True),)
        if options.disk is not None:
            drives += (Drive(path=options.disk, format=disks.format_of(options.disk)),)
    else:
        drives = disks.drives(image, media=options.media, disk=options.disk)
    if options.config is not None:
        nocloud.make_disk(options.config, folder / "cidata.img", tools)
        drives += (Drive(path=folder / "cidata.img", read_only=True),)
    wanted = publishes if options.forwards is None else options.forwards
    forwards, moved = ports.available(wanted, exact=options.forwards is not None)
    guest = Guest(
        accelerator=accelerator.choose(tools).arguments,
        memory=options.memory,
        cpus=options.cpus,
        data=(tools.path("usr/share/qemu"), tools.path("usr/share/seabios")),
        drives=drives,
        firmware=_firmware(tools, folder) if options.firmware == "uefi" and not options.direct else None,
        direct=direct,
        forwards=forwards,
    )
    return guest, moved


def _firmware(tools: Tools, folder: Path) -> Firmware:
    return Firmware(
        code=tools.path("usr/share/OVMF/OVMF_CODE_4M.fd"),
        variables=disks.fresh_variables(tools.path("usr/share/OVMF/OVMF_VARS_4M.fd"), folder),
    )


def _follow(session: Session, options: Options, progress: Progress, out: TextIO, *, terminal: bool) -> int:
    watch = Watch(until=options.until)
    timeout = options.timeout or (DEFAULT_TIMEOUT if options.until is not None else None)
    deadline, limit = timeout, timeout or 0.0
    seen: list[tuple[float, dict[str, Any]]] = []
    if options.json:
        _print_json(out, {"format": events.FORMAT})
    while not watch.over and session.open:
        left = 1.0 if deadline is None else min(1.0, deadline - session.elapsed)
        before = watch.phase
        for report in session.step(left):
            if report.event is not None:
                seen.append((report.at, report.event))
                watch = watch.on_event(report.event)
                if options.json:
                    _print_json(out, report.event)
            elif report.line is not None:
                watch = watch.on_line(report.line)
                text = plain(report.line)
                if text and options.until is None and not options.json and not terminal:
                    progress.note(text)
        if before is Phase.BOOTING and watch.phase is Phase.STOPPING:
            limit = POWER_OFF_TIMEOUT
            deadline = session.elapsed + limit
            if not watch.clean:
                session.press_power_button()
        if deadline is not None and session.elapsed >= deadline:
            watch = watch.on_deadline(limit)
    if not watch.over:
        watch = watch.on_end(session.status or 0)
    if not options.json and not terminal and seen:
        for line in timeline.lines(seen):
            progress.note(line)
    if watch.phase is Phase.FAILED:
        raise GuestFailed(_explain(watch, session, terminal=terminal), hint=_hint(session))
    return 0


def _explain(watch: Watch, session: Session, *, terminal: bool) -> str:
    parts = [watch.cause, *session.complaints]
    if not terminal:
        last = [text for text in map(plain, session.console) if text][-SHOWN_LINES:]
        parts += [f"The last {len(last)} lines of the console:", *last] if last else ["The console showed nothing."]
    return "\n".join(parts)


def _hint(session: Session) -> str | None:
    if any("deadlocked on memory" in line or "invalid magic" in line for line in session.console):
        return "give the guest more --memory"
    return None


def _print_json(out: TextIO, value: dict[str, Any]) -> None:
    out.write(json.dumps(value, separators=(", ", ": ")) + "\n")
    out.flush()
