"""A command line as a plain value, read out of argparse: what `--help`, completion and man pages have in common."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

from builder.cli.arguments import Named


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """A flag. `value` is what stands for its value, None where it takes none; `choices` are all that it may be."""

    flags: tuple[str, ...]
    help: str
    value: str | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Word:
    """A positional argument, as it is shown."""

    shown: str
    help: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """A program or one of its verbs. `path` is all of its words: `("berth", "build")`."""

    path: tuple[str, ...]
    summary: str
    examples: tuple[str, ...]
    options: tuple[Option, ...]
    words: tuple[Word, ...]
    verbs: tuple[Command, ...]

    def walk(self) -> Iterator[Command]:
        """Yield the command and all below it."""
        yield self
        for verb in self.verbs:
            yield from verb.walk()


def read(parser: argparse.ArgumentParser, *, summary: str = "") -> Command:
    """Return what a parser takes; hidden arguments are left out."""
    options, words, verbs = [], [], []
    formatter = parser._get_formatter()  # noqa: SLF001 - the same

    def told(action: argparse.Action) -> str:
        return formatter._expand_help(action) if action.help else ""  # noqa: SLF001 - the same

    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to be asked
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            helps = {each.dest: each.help or "" for each in action._choices_actions}  # noqa: SLF001
            verbs = [read(sub, summary=helps.get(name, "")) for name, sub in action.choices.items()]
        elif action.help is argparse.SUPPRESS:
            continue
        elif action.option_strings:
            value = None if action.nargs == 0 else _value(action)
            flags = tuple(action.option_strings)
            options.append(Option(flags=flags, help=told(action), value=value, choices=_choices(action)))
        else:
            words.append(Word(shown=_shown(action), help=told(action), choices=_choices(action)))
    return Command(
        path=tuple(parser.prog.split()),
        summary=summary or parser.description or "",
        examples=_examples(parser.epilog or ""),
        options=tuple(options),
        words=tuple(words),
        verbs=tuple(verbs),
    )


def _choices(action: argparse.Action) -> tuple[str, ...]:
    names = action.type.names if isinstance(action.type, Named) else action.choices or ()
    return tuple(str(name) for name in names)


def _value(action: argparse.Action) -> str:
    if isinstance(action.metavar, str):
        return action.metavar
    return "|".join(_choices(action)) or action.dest.upper()


def _shown(action: argparse.Action) -> str:
    name = _value(action)
    return {"?": f"[{name}]", "*": f"[{name}…]", "+": f"{name}…", "...": f"{name}…"}.get(str(action.nargs), name)


def _examples(epilog: str) -> tuple[str, ...]:
    head, _, rest = epilog.partition("examples:\n")
    return tuple(line.strip() for line in rest.splitlines() if line.strip()) if not head else ()
