"""A man page of a command line, pure: roff with the macros of man(7)."""

from __future__ import annotations

from collections.abc import Mapping

from builder.cli.commandtree import Command, Option, Word


def page(root: Command, *, section: int, version: str, notes: Mapping[str, str]) -> str:
    """Return the page. `notes` are sections of prose, by heading, that stand behind the verbs."""
    name = root.path[0]
    lines = [
        f'.TH "{name.upper()}" "{section}" "" "Berth {_escape(version)}" "Berth"',
        ".SH NAME",
        f"{_escape(name)} \\- {_escape(_plain(root.summary))}",
        ".SH SYNOPSIS",
        f"{_bold(name)} {_italic('VERB')} [{_italic('ARGUMENT')}…]",
        ".br",
        f"{_bold(name)} {_italic('VERB')} {_bold('--help')}",
    ]
    if root.options:
        lines += [".SH OPTIONS", *_arguments(root)]
    lines.append(".SH VERBS")
    for command in list(root.walk())[1:]:
        lines += [f".SS {_bold(' '.join(command.path[1:]))}", _line(_sentence(command.summary)), ".PP"]
        lines += [_synopsis(command), *_arguments(command)]
        if command.examples:
            lines += [".PP", ".nf", ".RS 4", *(_line(example) for example in command.examples), ".RE", ".fi"]
    for heading, prose in notes.items():
        lines.append(f".SH {_escape(heading)}")
        for paragraph in prose.strip().split("\n\n"):
            first, _, rest = paragraph.partition("\n")
            lines += [".TP", _bold(first), _line(rest)] if rest else [".PP", _line(first)]
    return "\n".join(lines) + "\n"


def _synopsis(command: Command) -> str:
    parts = [_bold(" ".join(command.path))]
    parts += [f"[{_shown(option, option.flags[0])}]" for option in _told(command)]
    parts += [_italic(word.shown) for word in command.words]
    if command.verbs:
        parts.append(_italic("VERB"))
    return " ".join(parts)


def _told(command: Command) -> list[Option]:
    """Return the options that are worth a line: that each verb has `--help` is said once."""
    return [option for option in command.options if "--help" not in option.flags or len(command.path) == 1]


def _arguments(command: Command) -> list[str]:
    lines = []
    for word in command.words:
        lines += _tagged(_italic(word.shown), word)
    for option in _told(command):
        lines += _tagged(", ".join(_shown(option, flag) for flag in option.flags), option)
    return lines


def _tagged(tag: str, what: Option | Word) -> list[str]:
    return [".TP", tag, _line(what.help or f"one of {', '.join(what.choices)}")] if what.help or what.choices else []


def _shown(option: Option, flag: str) -> str:
    return _bold(flag) if option.value is None else f"{_bold(flag)} {_italic(option.value)}"


def _plain(text: str) -> str:
    return text[:1].lower() + text[1:].rstrip(".")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _bold(text: str) -> str:
    return f"\\fB{_escape(text)}\\fR"


def _italic(text: str) -> str:
    return f"\\fI{_escape(text)}\\fR"


def _escape(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-")


def _line(text: str) -> str:
    """Return text as one line, whatever it begins with: a dot or a quote would be a request."""
    escaped = _escape(" ".join(text.split()) if "  " not in text else text)
    return f"\\&{escaped}" if escaped[:1] in (".", "'") else escaped
