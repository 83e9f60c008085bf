"""Logging in to a machine under test: keys and a client from the very packages that the machine's recipe locks.

No host needs an SSH client for it, and nothing of the host's own (agent, keys, known hosts, configuration) is read.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from machine import Machine

from builder.cli.context import Context
from builder.cli.inputs import Network, load_recipe, ready_lock
from builder.tools.call import Tools
from builder.tools.tree import tools_tree

PATIENCE = 120.0  # seconds until the first log-in, and for one command
SHUT = ("Connection refused",)


def client_tools(tools: Tools, root: Path) -> Tools:
    """Return the packages of `minimal` without its kernels as programs that run here: `ssh` and `ssh-keygen`."""
    context = Context.create(quiet=True, as_json=False)
    lock = ready_lock(load_recipe("minimal"), tools, context, Network(heal=True))
    wanted = tuple(package for package in lock.packages if "root" in package.parts)
    return tools_tree(replace(lock, packages=wanted), context.store, root, context.progress)


@dataclass(frozen=True, kw_only=True)
class Done:
    """How a command on the machine ended."""

    status: int
    out: str
    err: str


@dataclass(frozen=True, kw_only=True)
class Key:
    """A pair of keys: the private half's file, and the public line."""

    path: Path
    public: str


class Client:
    """The client half of OpenSSH, in a folder of its own."""

    def __init__(self, tools: Tools, folder: Path) -> None:
        self.tools = tools
        self.folder = folder

    def key(self, name: str) -> Key:
        """Make a pair of keys."""
        path = self.folder / name
        self.tools.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path))
        return Key(path=path, public=path.with_suffix(".pub").read_text().strip())

    def argv(self, machine: Machine, user: str, key: Key, *command: str, options: tuple[str, ...] = ()) -> list[str]:
        """Return the command that runs `command` on the machine as `user`."""
        settings = (
            "BatchMode=yes", "IdentitiesOnly=yes", "IdentityAgent=none", "StrictHostKeyChecking=accept-new",
            f"UserKnownHostsFile={machine.folder}/known_hosts", "GlobalKnownHostsFile=/dev/null",
            "ConnectTimeout=60", "LogLevel=INFO", f"IdentityFile={key.path}", *options,
        )  # fmt: skip
        words = [word for setting in settings for word in ("-o", setting)]
        return self.tools.argv(
            "ssh", "-F", "/dev/null", *words, "-p", str(machine.port(22)), f"{user}@127.0.0.1", "--", *command
        )

    def on_path(self) -> Path:
        """Return a folder with `ssh` and `ssh-keygen` as programs that any other can start."""
        folder = self.folder / "bin"
        folder.mkdir(exist_ok=True)
        for name, options in (("ssh", ("-F", "/dev/null")), ("ssh-keygen", ())):
            program = folder / name
            program.write_text(f'#!/bin/sh\nexec {shlex.join(self.tools.argv(name, *options))} "$@"\n')
            program.chmod(0o755)
        return folder

    def run(self, machine: Machine, user: str, key: Key, *command: str, options: tuple[str, ...] = ()) -> Done:
        """Run it to its end. A machine that does not take connections yet is asked again."""
        deadline = time.monotonic() + PATIENCE
        while True:
            done = subprocess.run(
                self.argv(machine, user, key, *command, options=options),
                env=self.tools.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                timeout=PATIENCE, check=False,
            )  # fmt: skip
            machine.hear()
            early = done.returncode == 255 and any(sign in done.stderr for sign in SHUT)
            if not early or time.monotonic() > deadline:
                return Done(status=done.returncode, out=done.stdout, err=done.stderr)
            time.sleep(0.5)


@dataclass(frozen=True, kw_only=True)
class Login:
    """One user on one machine."""

    client: Client
    machine: Machine
    user: str
    key: Key

    def run(self, *command: str) -> Done:
        """Run a command to its end, whatever that is."""
        return self.client.run(self.machine, self.user, self.key, *command)

    def begin(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a command that nobody waits for; whoever starts it ends it."""
        return subprocess.Popen(
            self.client.argv(self.machine, self.user, self.key, *command),
            env=self.client.tools.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def send(self, data: bytes, command: str) -> None:
        """Run a command that reads `data` from its standard input and has to end well."""
        done = subprocess.run(
            self.client.argv(self.machine, self.user, self.key, command),
            env=self.client.tools.environment(), input=data, capture_output=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        self.machine.hear()
        assert done.returncode == 0, self.machine.explain(f"{command} ended with {done.returncode}: {done.stderr!r}")

    def out(self, *command: str) -> str:
        """Return what a command says that has to end well."""
        done = self.run(*command)
        assert done.status == 0, self.machine.explain(f"{command} ended with {done.status}:\n{done.out}{done.err}")
        return done.out

    def json(self, *command: str) -> Any:
        """Return the one object that a command says."""
        return json.loads(self.out(*command))
