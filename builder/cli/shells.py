"""Completion scripts of a command line, pure. Once written they start no program: a shell has the whole table.

Offered are verbs, flags, and the words that an argument or a flag may be; wherever anything else may stand, the shell
offers file names as it always does.
"""

from __future__ import annotations

from builder.cli.commandtree import Command


def bash(root: Command) -> str:
    """Return the script for bash."""
    return (
        f"# Completion of {root.path[0]} for bash: source it, or put it into bash-completion's folder.\n{_body(root)}"
    )


def zsh(root: Command) -> str:
    """Return the script for zsh: bash's, by the compatibility that zsh brings."""
    head = f"#compdef {root.path[0]}\n# Completion of {root.path[0]} for zsh: source it after compinit.\n"
    return f"{head}autoload -U +X bashcompinit && bashcompinit\n{_body(root)}"


def _body(root: Command) -> str:
    name = root.path[0]
    commands = list(root.walk())
    below = "|".join(_quoted(command.path) for command in commands[1:])
    values, offers = [], []
    for command in commands:
        for option in command.options:
            if option.value is not None:
                flags = "|".join(_quoted((*command.path, flag)) for flag in option.flags)
                values.append(f"        {flags}) words={_words(option.choices)} ;;")
        flags = _words(flag for option in command.options for flag in option.flags)
        words = _words((verb.path[-1] for verb in command.verbs), (c for word in command.words for c in word.choices))
        offers.append(f"        {_quoted(command.path)}) flags={flags} words={words} ;;")
    lines = [
        f"_{name}_complete() {{",
        "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}",
        f"    local at={name} flags= words= word",
        '    for word in "${COMP_WORDS[@]:1:$((COMP_CWORD-1))}"; do',
        '        case "$at $word" in',
        f'        {below}) at="$at $word" ;;',
        "        esac",
        "    done",
        '    case "$at" in',
        *offers,
        "    esac",
        '    case "$at $prev" in',
        *values,
        "        *) [[ $cur == -* ]] && words=$flags ;;",
        "    esac",
        '    COMPREPLY=( $(compgen -W "$words" -- "$cur") )',
        "}",
        f"complete -o default -F _{name}_complete {name}",
    ]
    return "\n".join(lines) + "\n"


def _quoted(path: tuple[str, ...]) -> str:
    return "'" + " ".join(path) + "'"


def _words(*groups: object) -> str:
    found = [str(word) for group in groups for word in group]  # type: ignore[attr-defined]
    return "'" + " ".join(found) + "'"


def fish(root: Command) -> str:
    """Return the script for fish, with what each verb and flag does."""
    name = root.path[0]
    lines = [f"# Completion of {name} for fish: put it into ~/.config/fish/completions/{name}.fish"]
    for command in root.walk():
        seen = " && ".join(f"__fish_seen_subcommand_from {word}" for word in command.path[1:])
        verbs = " ".join(verb.path[-1] for verb in command.verbs)
        none = f"not __fish_seen_subcommand_from {verbs}" if verbs else ""
        where = " && ".join(part for part in (seen, none) if part)
        head = f"complete -c {name}" + (f" -n '{where}'" if where else "")
        lines += [f"{head} -f -a {verb.path[-1]} -d {_text(verb.summary)}" for verb in command.verbs]
        lines += [f"{head} -f -a {_text(' '.join(word.choices))}" for word in command.words if word.choices]
        for option in command.options:
            flags = "".join(f" -l {flag[2:]}" if flag.startswith("--") else f" -s {flag[1:]}" for flag in option.flags)
            takes = f" -x -a {_text(' '.join(option.choices))}" if option.choices else " -r" if option.value else ""
            lines.append(f"{head}{flags}{takes} -d {_text(option.help)}")
    return "\n".join(lines) + "\n"


def _text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


SHELLS = {"bash": bash, "zsh": zsh, "fish": fish}
