"""Runs a page of documentation as a reader would: its files are saved, its commands typed, its output compared.

The page's fenced blocks, by their info strings:

    ```sh                   typed in the first terminal; has to end with status 0
    ```sh terminal=NAME     typed in another one, where it stays running; it has to end well when the page is done
    ```LANG file=PATH       saved as PATH, which the text before the block has to name
    ```text                 lines that the block before printed, in this order, each as a part of a line

Variables, functions and the folder go on from block to block, as in a shell that stays open.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(?P<info>[^\n`]+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
_BLOCK_BOUND = 900.0  # seconds for what one block types, ten times what it takes on a quiet machine
_END_BOUND = 120.0  # seconds for what runs in another terminal to end
# Leaves behind what the next block goes on with. `set -e` as a reader would stop at the first thing that fails.
_SHELL = """\
. "$0" 2>/dev/null
set -eu
{body}
{{ export -p; declare -f; printf 'cd %q\\n' "$PWD"; }} > "$0"
"""


@dataclass(frozen=True, kw_only=True)
class Block:
    """One fenced block. `before` is the text between it and the block before; `line` counts from 1."""

    language: str
    options: Mapping[str, str]
    body: str
    before: str
    line: int


def blocks(page: str) -> Iterator[Block]:
    """Yield a page's fenced blocks."""
    end = 0
    for found in _FENCE.finditer(page):
        language, *words = found["info"].split()
        yield Block(
            language=language,
            options=dict(word.partition("=")[::2] for word in words),
            body=found["body"],
            before=page[end : found.start()],
            line=page.count("\n", 0, found.start()) + 1,
        )
        end = found.end()


class Reader:
    """Follows a page in a folder. Each other terminal's output goes to a file, which is shown where something fails."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = dict(environment)
        self._state = folder / ".shell"
        self._state.touch()
        self._terminals: dict[str, subprocess.Popen[bytes]] = {}
        self._printed = ""

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *exc: object) -> None:
        for process in self._terminals.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def follow(self, page: Sequence[Block]) -> None:
        """Do all that the page says."""
        for block in page:
            try:
                self._do(block)
            except AssertionError as error:
                raise AssertionError(f"line {block.line} of the page: {error}\n{self._others()}") from None

    def ends(self, name: str, *, interrupt: bool = False) -> int:
        """Wait for the end of what runs in another terminal, after a Ctrl-C there; return its status."""
        process = self._terminals[name]
        if interrupt:
            os.killpg(process.pid, signal.SIGINT)
        try:
            return process.wait(_END_BOUND)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"what runs in the terminal {name} does not end\n{self._others()}") from None

    def _do(self, block: Block) -> None:
        path = block.options.get("file")
        if path is not None:
            assert f"`{path}`" in block.before, f"the text does not say where to save {path}"
            (self._cwd() / path).write_text(block.body)
        elif block.language == "sh" and "terminal" in block.options:
            self._open(block.options["terminal"], block.body)
        elif block.language == "sh":
            self._printed = self._type(block.body)
        else:
            assert block.language == "text", f"nobody knows what to do with a block of {block.language}"
            self._compare(block.body)

    def _cwd(self) -> Path:
        done = subprocess.run(
            ("bash", "-c", '. "$0" 2>/dev/null; pwd', str(self._state)), cwd=self._folder, capture_output=True,
            text=True, check=True,
        )  # fmt: skip
        return Path(done.stdout.strip())

    def _argv(self, body: str) -> tuple[str, ...]:
        return ("bash", "-c", _SHELL.format(body=body), str(self._state))

    def _type(self, body: str) -> str:
        output = self._folder / ".typed"
        with output.open("wb") as stream:
            process = subprocess.Popen(
                self._argv(body), cwd=self._folder, env=self._environment, stdin=subprocess.DEVNULL,
                stdout=stream, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
            deadline = time.monotonic() + _BLOCK_BOUND
            while process.poll() is None:
                gone = [name for name, other in self._terminals.items() if other.poll() not in (None, 0)]
                if gone or time.monotonic() > deadline:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                    why = f"what ran in the terminal {gone[0]} ended" if gone else "it does not end"
                    raise AssertionError(f"{why}:\n{body}\nit printed:\n{output.read_text(errors='replace')}")
                time.sleep(0.1)
        printed = output.read_text(errors="replace")
        assert process.returncode == 0, f"status {process.returncode}:\n{body}\nit printed:\n{printed}"
        return printed

    def _open(self, name: str, body: str) -> None:
        with (self._folder / f".terminal-{name}").open("wb") as stream:
            # `exec`: a Ctrl-C and the status are the program's own
            last = body.strip().splitlines()[-1]
            script = _SHELL.format(body=body.replace(last, f"exec {last}"))
            self._terminals[name] = subprocess.Popen(
                ("bash", "-c", script, str(self._state)), cwd=self._folder, env=self._environment,
                stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def _compare(self, expected: str) -> None:
        lines = iter(self._printed.splitlines())
        for wanted in expected.splitlines():
            assert any(wanted in line for line in lines), f"{wanted!r} was not printed, but:\n{self._printed}"

    def _others(self) -> str:
        shown = []
        for name in self._terminals:
            text = (self._folder / f".terminal-{name}").read_text(errors="replace")
            shown += [f"--- terminal {name}:", *text.splitlines()[-60:]]
        return "\n".join(shown)
