"""Cuts a shell script into tokens (POSIX.1-2017, 2.2 and 2.3), as far as `shellwords` needs them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Token:
    """One token. `inner` are the texts of the command substitutions that stand in it.

    A word is `literal` where the shell expands nothing in it, so that `text` is what a command gets.
    """

    kind: str  # `word`, `operator`, `write`
    text: str
    literal: bool = True
    quoted: bool = False
    inner: tuple[str, ...] = ()


class Reader:
    """Cuts a script into words, operators and redirections; what substitutions hold goes with the token around them."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._documents: list[tuple[str, bool]] = []
        self._inner: list[str] = []
        self._literal = True
        self._quotes = False

    def tokens(self) -> Iterator[Token]:
        """Yield the tokens of the whole text."""
        for token in self._tokens():
            yield replace(token, inner=tuple(self._inner))
            self._inner.clear()
        if self._inner:
            yield Token("operator", "\n", inner=tuple(self._inner))

    def _tokens(self) -> Iterator[Token]:
        while self._at < len(self._text):
            letter = self._text[self._at]
            if letter == "\n":
                self._at += 1
                self._pass_documents()
                yield Token("operator", "\n")
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
                word = self._one_word()
                yield Token("word", word, literal=self._literal, quoted=self._quotes)

    def _find(self, what: str) -> int:
        position = self._text.find(what, self._at)
        return len(self._text) if position < 0 else position

    def _operator(self) -> Token:
        for operator in (";;", ";&", "&&", "||"):
            if self._text.startswith(operator, self._at):
                self._at += 2
                return Token("operator", operator)
        self._at += 1
        return Token("operator", self._text[self._at - 1])

    def _redirection(self) -> Iterator[Token]:
        if self._text.startswith(("<(", ">("), self._at):
            self._literal, self._quotes = False, False
            yield Token("word", self._substitution(), literal=False)
            return
        while self._text[self._at].isdigit():
            self._at += 1
        for operator in ("<<-", "<<<", "<<", "<>", "<&", ">&", ">>", ">|", "<", ">"):
            if self._text.startswith(operator, self._at):
                self._at += len(operator)
                break
        while self._text[self._at : self._at + 1] in (" ", "\t"):
            self._at += 1
        quoted = self._text[self._at : self._at + 1] in ("'", '"', "\\")
        inner = self._text.startswith(("<(", ">("), self._at)
        target = self._substitution() if inner else self._one_word()
        if operator in ("<<", "<<-"):
            self._documents.append((target, quoted))
        elif operator.startswith(">") and not (operator == ">&" and (target.isdigit() or target == "-")):
            if target != "/dev/null":
                yield Token("write", target)
        elif operator == "<>":
            yield Token("write", target)

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
        inside = Reader(text)
        while inside._at < len(text):
            if text[inside._at] == "\\":
                inside._at += 2
            elif text.startswith("$(", inside._at) or text[inside._at] == "`":
                inside._substitution()
            else:
                inside._at += 1
        self._inner += inside._inner

    def _substitution(self) -> str:
        """Pass over `$(…)`, `<(…)` or a back-quoted command and gather it."""
        self._literal = False
        start = self._at
        if self._text[start] == "`":
            end = start + 1
            while end < len(self._text) and self._text[end] != "`":
                end += 2 if self._text[end] == "\\" else 1
            self._inner.append(self._text[start + 1 : end].replace("\\`", "`"))
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
        self._inner.append(self._text[body : self._at - 1])
        return "$()"

    def _quoted(self, mark: str) -> str:
        """Pass over a quoted string and return what it says; substitutions in it are gathered."""
        self._at += 1
        self._quotes = True
        said = []
        while self._at < len(self._text) and self._text[self._at] != mark:
            if mark == '"' and self._text[self._at] == "\\":
                said.append(self._text[self._at + 1 : self._at + 2])
                self._at += 2
            elif mark == '"' and (self._text.startswith("$(", self._at) or self._text[self._at] == "`"):
                said.append(self._substitution())
            else:
                self._literal = self._literal and (mark, self._text[self._at]) != ('"', "$")
                said.append(self._text[self._at])
                self._at += 1
        self._at += 1
        return "".join(said)

    def _one_word(self) -> str:
        self._literal, self._quotes = True, False
        said = []
        start = self._at
        while self._at < len(self._text):
            letter = self._text[self._at]
            if letter in "'\"":
                said.append(self._quoted(letter))
            elif letter == "\\":
                self._quotes = True
                said.append(self._text[self._at + 1 : self._at + 2].strip("\n"))
                self._at += 2
            elif self._text.startswith("$(", self._at) or letter == "`":
                said.append(self._substitution())
            elif self._text.startswith("${", self._at):
                end = self._text.find("}", self._at)
                end = len(self._text) if end < 0 else end + 1
                self._literal = False
                self._substitutions(self._text[self._at + 2 : end])
                said.append(self._text[self._at : end])
                self._at = end
            elif letter in " \t\r\n;&|()<>":
                break
            else:
                self._literal = self._literal and letter not in "$*?[{~"
                said.append(letter)
                self._at += 1
        if self._at == start:
            self._at += 1
        return "".join(said)
