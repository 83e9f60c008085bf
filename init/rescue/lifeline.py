"""Who may come in: the lifeline of the last good configuration, and the files below `/etc` that follow from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from init.dialects.compile import compile_documents
from init.dialects.sources import Places, candidates
from init.formats import release
from init.formats.machine import Machine
from init.formats.release import Release
from init.pid1 import accounts, etc, remembered
from init.pid1.settings import FACTORY_ETC
from init.pid1.sources import LAST_GOOD, LAST_GOOD_SHA256
from init.pid1.system import Files

NOBODY = "no last good configuration can be read: nobody can log in by SSH"


@dataclass(frozen=True, kw_only=True, slots=True)
class Lifeline:
    """The machine as far as rescue needs it, what it was made from, and a sentence for people."""

    machine: Machine
    identity: dict[str, str] | None  # sha256, instance_id
    sentence: str


def read(folder: Path = Path(LAST_GOOD), default: Path = Path(release.DEFAULT_DOCUMENT_PATH)) -> Lifeline:
    """Compile the last good configuration; where there is none, the recipe's. Never fails."""
    base = _bytes(default)
    recipe = compile_documents(None, default=base).machine or Machine()
    nobody = Lifeline(machine=only_lifeline(recipe), identity=None, sentence=NOBODY)
    found = candidates(Places(last_good=folder))
    if not found:
        return nobody
    user, meta, network = found[0].documents()
    compiled = compile_documents(user, meta_data=meta, network_config=network, default=base)
    machine = compiled.machine or compiled.lifeline
    if machine is None:
        return nobody
    sha256 = (_bytes(folder / Path(LAST_GOOD_SHA256).name) or b"").decode("ascii", "replace").strip()
    return Lifeline(
        machine=only_lifeline(machine),
        identity={"sha256": sha256, "instance_id": machine.instance_id},
        sentence=f"the last good configuration: {machine.hostname}, sha256 {sha256[:12] or 'unknown'}",
    )


def only_lifeline(machine: Machine) -> Machine:
    """Return host name, users with their keys, and network: no password, no container, nothing that is run."""
    users = tuple(replace(user, password_hash=None, lock_password=True) for user in machine.users)
    return replace(
        Machine(),
        hostname=machine.hostname,
        fqdn=machine.fqdn,
        instance_id=machine.instance_id,
        users=users,
        groups=machine.groups,
        root_keys=machine.root_keys,
        disable_root=machine.disable_root,
        network=machine.network,
        ssh_host_keys=machine.ssh_host_keys,
    )


def write_etc(system: Files, machine: Machine, own: Release) -> None:
    """Write what lets people in, over the factory's copy, and make their homes in memory. Raise OSError."""
    base = accounts.read_base(*(_text(system, f"{FACTORY_ETC}/{name}") for name in ("passwd", "group", "shadow")))
    made = accounts.resolve(machine, base, _memory(system))
    for entry in etc.files(machine, own, made):
        system.make_folder(entry.path.rpartition("/")[0])
        if entry.target:
            system.make_link(entry.path, entry.target)
            continue
        system.replace(entry.path, entry.data, entry.mode)
        if entry.uid or entry.gid:
            system.set_owner(entry.path, entry.uid, entry.gid)
    for home in made.homes:
        if not system.exists(home.path):
            system.make_folder(home.path, home.mode)
            system.set_owner(home.path, home.uid, home.gid)


def _memory(system: Files) -> remembered.Memory:
    try:
        return remembered.read(system.read(remembered.PATH, remembered.MOST))
    except (OSError, ValueError):
        return remembered.NOTHING


def _text(system: Files, path: str) -> str:
    try:
        return system.read(path).decode("utf-8", "replace")
    except OSError:
        return ""


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
