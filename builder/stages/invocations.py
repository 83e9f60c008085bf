"""How one command is called: its name alone where that tells what it does, else with the word that matters.

Some tools that mostly read can write, or run others, by an option or in a program of their own. A call whose words
are all understood, and that only reads, is its name; any other has a word beside it, so that `inert` does not know it.

    `sed -n s/a/b/p f`        sed
    `sed -i s/a/b/ f`         sed -i
    `sed s/a/b/e f`           sed s/a/b/e
    `sort -o /etc/x f`        sort -o
    `command -v x`            command -v
    `xargs -0 sed -i s/a/b/`  xargs sed -i
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from builder.stages.shelltokens import Token

# a command whose argument is what really runs, with the options that change nothing in that
_CARRIERS: dict[str, tuple[str, ...]] = {
    "exec": (),
    "nohup": (),
    "command": ("-p",),
    "env": ("-i",),
    "xargs": ("-0", "-r", "-0r", "-r0", "-t", "--null", "--no-run-if-empty"),
}
_NAMED = frozenset({".", "source", "eval", "sudo"})  # what they take is said as it stands
_LONGEST = 60  # letters of a word that is shown
_SUBSCRIPTS = frozenset({"[", "[[", "test", "read", "export", "local", "readonly", "unset", "getopts", "printf"})
_ASSIGNING = frozenset({"export", "local", "readonly", "read"})
_DECIDES = re.compile(r"(PATH|ENV|BASH_ENV|LD_[A-Z_]+)(=|$)")

# a bracket expression that holds the delimiter is not understood: versions of sed read it in two ways
_ADDRESS = r"(?:\d+|\$|/(?:[^/\\\n\[]|\\.|\[\^?\]?[^/\]\n]*\])*/I?)"
_SUBSTITUTE = r"s([^\w\s\\\[])(?:(?!\1)[^\\\n\[]|\\.|\[\^?\]?(?:(?!\1)[^\]\n])*\])*\1(?:(?!\1)[^\\\n]|\\.)*\1[gpIi0-9]*"
_SED = re.compile(
    rf"[ \t]*(?:(?:{_ADDRESS}(?:,[ \t]*{_ADDRESS})?[ \t]*!?[ \t]*)?(?:[pdqnNgGhHxDP=]|{_SUBSTITUTE}))?[ \t]*(?:[;\n]|$)"
)
_RUNS_IN_AWK = re.compile(r"system|getline|close|[|>@]")
_SORTED = re.compile(r"-[bcdfghiMnRrsuVz]+|-[kt].+|--(unique|reverse|zero-terminated|numeric-sort|version-sort)")
_DPKG = frozenset({
    "--compare-versions", "--print-architecture", "--print-foreign-architectures", "--version", "-l", "--list", "-s",
    "--status", "-L", "--listfiles", "-S", "--search", "-p", "--print-avail", "--get-selections",
})  # fmt: skip


def form_of(name: Token, arguments: Sequence[Token]) -> str:
    """Return what a call is known by."""
    text = name.text
    if text in _NAMED:
        return f"{text} {next((word.text for word in arguments if not word.text.startswith('-')), '')}".rstrip()
    if text in _CARRIERS:
        return _carried(text, arguments)
    word = _odd_word(text, arguments)
    return text if word is None else f"{text} {_short(word)}".rstrip()


def _short(word: str) -> str:
    line = " ".join(word.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def _carried(carrier: str, arguments: Sequence[Token]) -> str:
    if carrier == "command" and arguments and arguments[0].literal and arguments[0].text in ("-v", "-V"):
        return "command -v"
    for number, word in enumerate(arguments):
        if word.literal and word.text in (*_CARRIERS[carrier], "--"):
            continue
        rest = list(arguments[number + 1 :])
        if carrier == "xargs":
            rest.append(Token("word", "what it reads", literal=False))
        return f"{carrier} {form_of(word, rest)}"
    return carrier


def _odd_word(name: str, arguments: Sequence[Token]) -> str | None:
    """Return the first word that may make more of a call than its name says, None where there is none."""
    judge = _JUDGES.get(name)
    if judge is not None:
        return judge(arguments)
    if name in _SUBSCRIPTS:
        # bash evaluates the subscripts of what they are given for a variable's name
        odd = (word.text for word in arguments if word.literal and re.search(r"\[.*(\$\(|`)", word.text, re.DOTALL))
        return next(odd, _assigned(arguments) if name in _ASSIGNING else None)
    return None


def _assigned(arguments: Sequence[Token]) -> str | None:
    return next((word.text for word in arguments if _DECIDES.match(word.text)), None)


def _sed(arguments: Sequence[Token]) -> str | None:
    # `-i` alone or behind options without a value; in `-es/i/j/` the letter belongs to the program
    if any(re.match(r"--in-place|-[nrEsuz]*i", word.text) for word in arguments):
        return "-i"
    odd = _not_literal(arguments)
    if odd is not None:
        return odd
    programs, operands = [], []
    words = iter([word.text for word in arguments])
    for word in words:
        if word in ("-e", "--expression"):
            programs.append(next(words, ""))
        elif (option := re.fullmatch(r"-[nrEsuz]*e(.*)|--expression=(.*)", word, re.DOTALL)) is not None:
            programs.append(option[1] or option[2] or next(words, ""))
        elif re.fullmatch(r"-[nrEsuz]+|--(quiet|silent|regexp-extended|null-data)", word) is None:
            operands.append(word)
    if not programs:
        programs, operands = operands[:1], operands[1:]
    return next((one for one in programs if not _reads_in_sed(one)), _option(operands))


def _reads_in_sed(program: str) -> bool:
    position = 0
    while position < len(program):
        match = _SED.match(program, position)
        if match is None or match.end() == position:
            return False
        position = match.end()
    return True


def _awk(arguments: Sequence[Token]) -> str | None:
    words = [word.text for word in arguments]
    while words and re.match(r"-F.+", words[0]):
        words = words[1:]
    odd = _not_literal(arguments) or _option(words)
    return odd or next((word for word in words[:1] if _RUNS_IN_AWK.search(word)), None)


def _sort(arguments: Sequence[Token]) -> str | None:
    odd = _not_literal(arguments)
    return odd or _option([word.text for word in arguments if not _SORTED.fullmatch(word.text)])


def _uniq(arguments: Sequence[Token]) -> str | None:
    odd = _not_literal(arguments)
    operands = [word.text for word in arguments if not re.fullmatch(r"-[cdiuz]+", word.text)]
    return odd or _option(operands) or next(iter(operands[1:]), None)  # the second is where it writes


def _date(arguments: Sequence[Token]) -> str | None:
    words = iter(arguments)
    for word in words:
        if word.text in ("-d", "--date", "-r", "--reference") and word.literal:
            next(words, None)
        elif not re.match(r"\+|-[uR]+$|--utc$|-I|--date=|--reference=|--iso-8601|--rfc-", word.text):
            return word.text
    return None


def _dpkg(arguments: Sequence[Token]) -> str | None:
    first = next(iter(arguments), None)
    return None if first is not None and first.literal and first.text in _DPKG else _text(first)


def _unset(arguments: Sequence[Token]) -> str | None:
    return _not_literal(arguments) or _option([word.text for word in arguments if word.text != "-v"])


def _trap(arguments: Sequence[Token]) -> str | None:
    # what it runs is read as a script of its own, which takes a text that is all there
    first = next((word for word in arguments if word.text != "--"), None)
    return None if first is None or first.literal else first.text


def _text(word: Token | None) -> str:
    return "" if word is None else word.text


def _not_literal(arguments: Sequence[Token]) -> str | None:
    return next((word.text for word in arguments if not word.literal), None)


def _option(words: Sequence[str]) -> str | None:
    return next((word for word in words if word.startswith("-") and word != "-"), None)


_JUDGES: dict[str, Callable[[Sequence[Token]], str | None]] = {
    "sed": _sed,
    "awk": _awk,
    "sort": _sort,
    "uniq": _uniq,
    "date": _date,
    "dpkg": _dpkg,
    "unset": _unset,
    "trap": _trap,
}
