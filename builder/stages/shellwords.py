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

import re
from collections.abc import Iterator
from dataclasses import dataclass

# after these reserved words a command follows
_OPENING = frozenset({"if", "then", "elif", "else", "while", "until", "do", "!", "{", "time"})
_CLOSING = frozenset({"fi", "done", "esac", "}", "in"})
# a command whose argument is what really runs
_CARRIERS = frozenset({".", "source", "exec", "eval", "env", "nohup", "xargs", "command", "sudo"})


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # `word`, `operator`, `write`
    text: str


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
    reader = _Reader(text)
    found = set(_commands(list(reader.tokens())))
    for inner in reader.inner:
        found |= commands(b"#!/bin/sh\n" + inner.encode())
    functions = set(_functions(list(_Reader(text).tokens())))
    return frozenset(found - functions)


def _functions(tokens: list[_Token]) -> Iterator[str]:
    for number, token in enumerate(tokens[:-2]):
        if token.kind == "word" and tokens[number + 1].text == "(" and tokens[number + 2].text == ")":
            yield token.text


def _commands(tokens: list[_Token]) -> Iterator[str]:
    expected = True
    case_depth = 0
    in_pattern = False
    for number, token in enumerate(tokens):
        following = tokens[number + 1].text if number + 1 < len(tokens) else ""
        if token.kind == "write":
            yield f"> {token.text}"
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
        expected, case_depth, said = _word(token.text, following, tokens, number, case_depth)
        if said is not None:
            yield said


def _word(
    text: str, following: str, tokens: list[_Token], number: int, case_depth: int
) -> tuple[bool, int, str | None]:
    """Read one word in command position: whether a command is still expected, the depth of `case`, the command."""
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
        return True, case_depth, None
    if following == "(":
        return False, case_depth, None  # a function's definition
    if text in _CARRIERS:
        rest = _arguments(tokens, number)
        carried = next((word for word in rest if not word.startswith("-")), "")
        return False, case_depth, f"{text} {carried}".rstrip()
    if text == "sed" and any(_edits_in_place(word) for word in _arguments(tokens, number)):
        return False, case_depth, "sed -i"
    return False, case_depth, text


def _edits_in_place(word: str) -> bool:
    # `-i` alone or behind options without a value; in `-es/i/j/` the letter belongs to the program
    return re.match(r"--in-place|-[nrEsuz]*i", word) is not None


def _arguments(tokens: list[_Token], number: int) -> list[str]:
    words = []
    for token in tokens[number + 1 :]:
        if token.kind == "operator":
            break
        if token.kind == "word":
            words.append(token.text)
    return words


class _Reader:
    """Cuts a script into words, operators and redirections; what substitutions hold is gathered in `inner`."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._documents: list[tuple[str, bool]] = []
        self.inner: list[str] = []

    def tokens(self) -> Iterator[_Token]:
        while self._at < len(self._text):
            letter = self._text[self._at]
            if letter == "\n":
                self._at += 1
                self._pass_documents()
                yield _Token("operator", "\n")
            elif letter in " \t\r":
                self._at += 1
            elif self._text.startswith("\\\n", self._at):
                self._at += 2
            elif letter == "#":
                self._at = self._find("\n")
            elif letter in ";&|()":
                yield self._operator()
            elif letter in "<>" or (letter.isdigit() and self._text[self._at + 1 : self._at + 2] in ("<", ">")):
                yield from self._redirection()
            else:
                yield _Token("word", self._one_word())

    def _find(self, what: str) -> int:
        position = self._text.find(what, self._at)
        return len(self._text) if position < 0 else position

    def _operator(self) -> _Token:
        for operator in (";;", ";&", "&&", "||"):
            if self._text.startswith(operator, self._at):
                self._at += 2
                return _Token("operator", operator)
        self._at += 1
        return _Token("operator", self._text[self._at - 1])

    def _redirection(self) -> Iterator[_Token]:
        while self._text[self._at].isdigit():
            self._at += 1
        for operator in ("<<-", "<<<", "<<", "<>", "<&", ">&", ">>", ">|", "<", ">"):
            if self._text.startswith(operator, self._at):
                self._at += len(operator)
                break
        while self._text[self._at : self._at + 1] in (" ", "\t"):
            self._at += 1
        quoted = self._text[self._at : self._at + 1] in ("'", '"', "\\")
        target = self._one_word()
        if operator in ("<<", "<<-"):
            self._documents.append((target, quoted))
        elif operator.startswith(">") and not (operator == ">&" and (target.isdigit() or target == "-")):
            if target != "/dev/null":
                yield _Token("write", target)
        elif operator == "<>":
            yield _Token("write", target)

    def _pass_documents(self) -> None:
        for mark, quoted in self._documents:
            lines = []
            while self._at < len(self._text):
                end = self._find("\n")
                line = self._text[self._at : end]
                self._at = end + 1
                if line.lstrip("\t") == mark:
                    break
                lines.append(line)
            if not quoted:
                self._substitutions("\n".join(lines))
        self._documents = []

    def _substitutions(self, text: str) -> None:
        inside = _Reader(text)
        while inside._at < len(text):
            if text[inside._at] == "\\":
                inside._at += 2
            elif text.startswith("$(", inside._at) or text[inside._at] == "`":
                inside._substitution()
            else:
                inside._at += 1
        self.inner += inside.inner

    def _substitution(self) -> str:
        """Pass over `$(…)` or a back-quoted command and gather it."""
        start = self._at
        if self._text[start] == "`":
            end = start + 1
            while end < len(self._text) and self._text[end] != "`":
                end += 2 if self._text[end] == "\\" else 1
            self.inner.append(self._text[start + 1 : end].replace("\\`", "`"))
            self._at = end + 1
            return "$()"
        self._at += 2
        body = self._at
        depth = 1
        while self._at < len(self._text):
            letter = self._text[self._at]
            if letter in "'\"":
                self._quoted(letter)
                continue
            if letter == "\\":
                self._at += 1
            depth += (letter == "(") - (letter == ")")
            self._at += 1
            if not depth:
                break
        self.inner.append(self._text[body : self._at - 1])
        return "$()"

    def _quoted(self, mark: str) -> str:
        """Pass over a quoted string and return what it says; substitutions in it are gathered."""
        self._at += 1
        said = []
        while self._at < len(self._text) and self._text[self._at] != mark:
            if mark == '"' and self._text[self._at] == "\\":
                said.append(self._text[self._at + 1 : self._at + 2])
                self._at += 2
            elif mark == '"' and (self._text.startswith("$(", self._at) or self._text[self._at] == "`"):
                said.append(self._substitution())
            else:
                said.append(self._text[self._at])
                self._at += 1
        self._at += 1
        return "".join(said)

    def _one_word(self) -> str:
        said = []
        start = self._at
        while self._at < len(self._text):
            letter = self._text[self._at]
            if letter in "'\"":
                said.append(self._quoted(letter))
            elif letter == "\\":
                said.append(self._text[self._at + 1 : self._at + 2].strip("\n"))
                self._at += 2
            elif self._text.startswith("$(", self._at) or letter == "`":
                said.append(self._substitution())
            elif self._text.startswith("${", self._at):
                end = self._text.find("}", self._at)
                end = len(self._text) if end < 0 else end + 1
                self._substitutions(self._text[self._at + 2 : end])
                said.append(self._text[self._at : end])
                self._at = end
            elif letter in " \t\r\n;&|()<>":
                break
            else:
                said.append(letter)
                self._at += 1
        if self._at == start:
            self._at += 1
        return "".join(said)
