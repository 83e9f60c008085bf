"""`berthctl rescue`: what a machine in rescue knows, and trying its slots again."""

from __future__ import annotations

from init.berthctl import show, talk

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

HELP = "in rescue: say why, or give the slots their tries back and reboot"
EXAMPLES = ("berthctl rescue status", "berthctl rescue retry")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("action", choices=("status", "retry"), help="what to do")


def run(arguments: argparse.Namespace) -> int:
    """Ask whoever answers; on a machine that isn't in rescue, PID 1 says so."""
    verb = "rescue" if arguments.action == "retry" else "rescue-show"
    answer = talk.one({"verb": verb, "action": arguments.action}, arguments.socket)
    if arguments.json:
        show.as_json(answer)
    elif arguments.action == "retry":
        print("every slot has its tries back: the machine reboots")
    else:
        print("\n".join(screen(answer)))
    return 0


def screen(answer: dict[str, object]) -> list[str]:
    """Return what rescue knows, for people."""
    borrowed, config = show.mapping(answer.get("borrowed")), show.mapping(answer.get("config"))
    last = show.mapping(answer.get("last_boot"))
    lines = [f"{'rescue':<10} {answer.get('reason')}"]
    for name, one in sorted(show.mapping(answer.get("slots")).items()):
        slot = show.mapping(one)
        good = "confirmed" if slot.get("good") else "not confirmed"
        lines.append(f"{f'slot {name}':<10} {good}, {slot.get('tries')} tries left")
    if not show.mapping(answer.get("slots")):
        lines.append(f"{'slots':<10} unknown: the boot record can't be read")
    if last:
        why = f"; {last.get('reason')}: {last.get('detail')}" if last.get("reason") else ""
        lines.append(f"{'last boot':<10} slot {last.get('slot')}, came as far as {last.get('phase')}{why}")
    addresses = [f"{name} {' '.join(show.texts(all_))}" for name, all_ in show.mapping(answer.get("addresses")).items()]
    identity = f"{answer.get('hostname')}, sha256 {str(config.get('sha256') or '')[:12]}" if config else "none readable"
    return [
        *lines,
        f"{'config':<10} {identity}",
        f"{'network':<10} {'; '.join(addresses) or 'no address'}",
        f"{'ssh':<10} {str(answer.get('ssh')).removeprefix('ssh: ')}",
        f"{'programs':<10} from slot {borrowed.get('slot')}, {borrowed.get('version')}",
        "",
        "berthctl rescue retry gives every slot its tries back and reboots",
    ]
