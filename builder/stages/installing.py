"""Which calls in a maintainer script surely run on its package's first installation (`preinst install`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from builder.stages.shelltokens import Reader, Token
from builder.stages.shellwords import Call, arguments_at

_ENDS = frozenset({"exit", "return", "exec", "break", "continue"})


@dataclass(slots=True)
class _Block:
    """A part of a script that has an end. `sure` says whether what stands in it now surely runs."""

    end: str
    sure: bool
    case_of_first: bool = False
    in_pattern: bool = False
    installs: bool = False
    any_word: bool = False  # a pattern before might have taken the word


def sure_calls(script: bytes, name: str) -> tuple[Call, ...]:
    """Return the calls of one command that surely run on a first installation, in their order.

    A shell's grammar is read as far as Debian's scripts need it; where it is in doubt, a call is not sure.
    """
    return tuple(_sure(list(Reader(script.decode("utf-8", "replace")).tokens()), name))


def _sure(tokens: Sequence[Token], name: str) -> Iterator[Call]:
    blocks: list[_Block] = []
    before = "\n"  # the operator or the reserved word that a command stands behind; "" within a command
    for number, token in enumerate(tokens):
        block = blocks[-1] if blocks else None
        if block is not None and block.in_pattern and token.text != "esac":
            _pattern(block, token, sure=all(one.sure for one in blocks[:-1]))
            before = ")" if not block.in_pattern else ""
        elif token.kind == "operator":
            if token.text == "(":
                blocks.append(_Block(")", sure=False))
            elif block is not None and token.text == block.end:
                blocks.pop()
            elif block is not None and block.end == "esac" and token.text == ";;":
                block.in_pattern, block.installs = True, False
            before = token.text
        elif block is not None and token.text == "in" and number > 1 and tokens[number - 2].text == "case":
            block.in_pattern = True
        elif token.kind == "word" and before:
            sure = all(one.sure for one in blocks) and before in ("\n", ";", ")", "then", "&", ";;")
            if token.text == name and not token.quoted and sure:
                yield Call(token, tuple(arguments_at(tokens, number)))
            if token.text in _ENDS and not _fails(tokens, number):
                return
            before = _reserved(tokens, number, blocks)


def _reserved(tokens: Sequence[Token], number: int, blocks: list[_Block]) -> str:
    """Open or close the block that a word begins or ends; say what the next word stands behind, "" for no command."""
    word = tokens[number].text
    if tokens[number].quoted:
        return ""
    match word:
        case "if":
            blocks.append(_Block("fi", sure=_asks_for_installation(tokens, number)))
        case "elif" | "else" if blocks:
            blocks[-1].sure = False
        case "while" | "until" | "for" | "select":
            blocks.append(_Block("done", sure=False))
            return "" if word in ("for", "select") else word
        case "{":
            blocks.append(_Block("}", sure=False))
        case "case":
            subject = [token.text for token in tokens[number + 1 : number + 3]]
            blocks.append(_Block("esac", sure=False, case_of_first=subject == ["$1", "in"], in_pattern=False))
            return ""
        case "fi" | "done" | "}" | "esac":
            if blocks and blocks[-1].end == word:
                blocks.pop()
            else:
                blocks.append(_Block("", sure=False))  # not understood: nothing behind it is sure
            return ""
        case "then" | "do" | "!" | "time":
            pass
        case _:
            return ""
    return word


def _pattern(block: _Block, token: Token, *, sure: bool) -> None:
    if token.kind == "operator" and token.text == ")":
        block.in_pattern, block.sure = False, (block.installs and block.case_of_first and not block.any_word and sure)
    elif token.kind == "word":
        block.installs = block.installs or token.text == "install"
        block.any_word = block.any_word or not token.literal


def _asks_for_installation(tokens: Sequence[Token], number: int) -> bool:
    """Return whether the condition behind `if` holds for `$1` = `install`: that test, or it and others joined by or."""
    words = []
    for token in tokens[number + 1 :]:
        if token.text == "then":
            break
        words.append(token.text)
    if {"&&", "|", "!", "-a", "&", "("} & set(words):
        return False
    plain = [word for word in words if word not in ("[", "]", "test", "||", "-o", ";", "\n")]
    tests = [tuple(plain[start : start + 3]) for start in range(0, len(plain), 3)]
    return all(len(one) == 3 and one[0] == "$1" and one[1] in ("=", "==") for one in tests) and "install" in [
        one[2] for one in tests
    ]


def _fails(tokens: Sequence[Token], number: int) -> bool:
    """Return whether this is `exit` with a failure: then nothing is installed at all."""
    words = [word.text for word in arguments_at(tokens, number)]
    return tokens[number].text == "exit" and words not in ([], ["0"]) and words[0].isdigit()
