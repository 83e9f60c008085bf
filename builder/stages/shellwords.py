"""Which commands a maintainer script may run: every word in command position, and every file that it writes to.

A shell's grammar is read only as far as that needs (POSIX.1-2017, 2.10): quotes, comments, here-documents,
substitutions, `case` patterns, functions. Where the reading is in doubt, a word too many comes out, never one too
few: the caller refuses what it does not know.

    `adduser --system x`            adduser
    `. /usr/share/x`                . /usr/share/x
    `"$hook" run`                   $hook
    `echo a > /etc/b`               echo, > /etc/b
    `sed -i s/a/b/ f`               sed -i
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from builder.stages.invocations import form_of
from builder.stages.shelltokens import Reader, Token

# after these reserved words a command follows
_OPENING = frozenset({"if", "then", "elif", "else", "while", "until", "do", "!", "{", "time"})
_CLOSING = frozenset({"fi", "done", "esac", "}", "in"})
_DEEPER = frozenset({"if", "while", "until", "for", "case", "{"})
_SHALLOWER = frozenset({"fi", "done", "esac", "}"})
# what decides which program a name stands for
_LOOKED_UP_BY = frozenset({"PATH", "ENV", "BASH_ENV", "LD_PRELOAD", "LD_LIBRARY_PATH"})


@dataclass(frozen=True, slots=True)
class Call:
    """One simple command: its name's word, and the words behind it."""

    name: Token
    arguments: tuple[Token, ...]


def commands(script: bytes) -> frozenset[str]:
    """Return the commands of a shell script; for a script in another language only `#!` and its interpreter."""
    text = script.decode("utf-8", "replace")
    first = text.split("\n", 1)[0]
    if first.startswith("#!"):
        words = first[2:].split()
        interpreter = words[0].rpartition("/")[2] if words else ""
        if interpreter == "env" and len(words) > 1:
            interpreter = words[1]
        if interpreter not in ("sh", "bash", "dash"):
            return frozenset({f"#!{interpreter}"})
    else:
        return frozenset({"#!"})  # not a script: a program that nobody can read
    return frozenset(said for _, said in _read(text))


def calls(script: bytes, name: str) -> tuple[Call, ...]:
    """Return the calls of one command in a shell script, in their order; () for a script in another language."""
    if any(one.startswith("#!") for one in commands(script)):
        return ()
    return tuple(
        call for call, _ in _read(script.decode("utf-8", "replace")) if call is not None and call.name.text == name
    )


def _read(text: str) -> list[tuple[Call | None, str]]:
    """Return what may run, with the call that it comes from; what a function's name stands for comes from its body."""
    tokens = list(Reader(text).tokens())
    defined = _functions(tokens)
    found: list[tuple[Call | None, str]] = []
    for number, call, said in _commands(tokens):
        if call is None or call.name.text not in defined or defined[call.name.text] > number:
            found.append((call, said))
        for inner in _carried_text(call):
            found += _known(_read(inner), defined, number)
    for number, token in enumerate(tokens):
        for inner in token.inner:
            found += _known(_read(inner), defined, number)
    return found


def _known(
    found: list[tuple[Call | None, str]], defined: dict[str, int], number: int
) -> Iterator[tuple[Call | None, str]]:
    for call, said in found:
        if call is None or defined.get(call.name.text, number + 1) > number:
            yield call, said


def _carried_text(call: Call | None) -> Iterator[str]:
    """Yield the text that a command takes for a script of its own: `trap 'rm x' EXIT`."""
    if call is not None and call.name.text == "trap":
        words = [word.text for word in call.arguments if word.text != "--"]
        if words and words[0] not in ("", "-"):
            yield words[0]


def _functions(tokens: list[Token]) -> dict[str, int]:
    """Return the functions that are surely there behind a token, each with that token's number.

    One that is made within another, in a branch or in a subshell may be missing when its name is called.
    """
    found: dict[str, int] = {}
    depth = parentheses = cases = 0
    pending: tuple[str, int] | None = None
    for number, token in enumerate(tokens):
        before = tokens[number - 1] if number else Token("operator", "\n")
        if token.kind == "operator":
            # within `case` a closing one may be a pattern's: then the depth stays, and fewer functions are known
            parentheses += (token.text == "(") - (token.text == ")" and parentheses > 0 and not cases)
        elif token.kind != "word" or token.quoted:
            continue
        elif before.kind == "operator" or before.text in _OPENING | _SHALLOWER:
            body = [one for one in tokens[number + 1 : number + 5] if one.text != "\n"]
            if (
                [one.text for one in body[:3]] == ["(", ")", "{"]
                and not depth + parentheses
                and before.text in ("\n", ";")
            ):
                pending = (token.text, number)
            depth += (token.text in _DEEPER) - (token.text in _SHALLOWER)
            cases += (token.text == "case") - (token.text == "esac")
            following = tokens[number + 1].text if number + 1 < len(tokens) else "\n"
            if pending is not None and token.text == "}" and not depth:
                if following in ("\n", ";"):
                    found.setdefault(*pending)
                pending = None
    return found


def _commands(tokens: list[Token]) -> Iterator[tuple[int, Call | None, str]]:
    expected = True
    case_depth = 0
    in_pattern = False
    for number, token in enumerate(tokens):
        following = tokens[number + 1].text if number + 1 < len(tokens) else ""
        if token.kind == "write":
            yield number, None, f"> {token.text}"
            continue
        if token.kind == "operator":
            if in_pattern:
                if token.text == ")":
                    in_pattern, expected = False, True
                continue
            if token.text in (";;", ";&") and case_depth:
                in_pattern = True
            expected = True
            continue
        if in_pattern:
            if token.text == "esac":
                in_pattern, case_depth, expected = False, case_depth - 1, False
            continue
        if not expected:
            if token.text == "in" and case_depth and number >= 2 and tokens[number - 2].text == "case":
                in_pattern = True
            continue
        expected, case_depth, said = _word(token, following, case_depth)
        if said:
            yield number, None, said
        elif said is not None:
            call = Call(token, tuple(arguments_at(tokens, number)))
            yield number, call, form_of(token, call.arguments)


def _word(token: Token, following: str, case_depth: int) -> tuple[bool, int, str | None]:
    """Read one word in command position: whether a command is still expected, the depth of `case`, what it says.

    It says "" where it is a command, and None where nothing runs.
    """
    text = token.text
    if not token.quoted:
        if text in _OPENING:
            return True, case_depth, None
        if text == "case":
            return False, case_depth + 1, None
        if text == "esac":
            return False, case_depth - 1, None
        if text in _CLOSING or text == "for":
            return False, case_depth, None
    name, equals, _ = text.partition("=")
    if equals and name.replace("_", "a").isalnum() and not name[0].isdigit():
        return True, case_depth, f"{name}=" if name in _LOOKED_UP_BY else None
    if following == "(":
        return False, case_depth, None  # a function's definition
    return False, case_depth, ""


def arguments_at(tokens: Sequence[Token], number: int) -> Iterator[Token]:
    """Yield the words behind the command whose name is token `number`."""
    for token in tokens[number + 1 :]:
        if token.kind == "operator":
            break
        if token.kind == "word":
            yield token
