"""Run by the tools tree's Python, not imported: compiles sources to byte code that is never checked against them.

Reads lines `FOLDER-NAME TAB FILE TAB NAME-ON-THE-MACHINE` from standard input, and writes each to the first as a `.pyc`
(PEP 552, unchecked hash: the flags are 1, the hash is zero, and no source needs to be there). Prints `ok` or
`NAME: error` a line.

Docstrings are left out, except in a file that mentions `__doc__`.

The same source gives the same bytes whatever was compiled before it: constants are marshalled after they were read
back once, so that which of them the interpreter happens to share does not show.
"""

import ast
import importlib.util
import marshal
import sys


def compile_one(source: bytes, name: str) -> bytes:
    """Return the content of the `.pyc` of a source that stands at `name` on the machine."""
    tree = ast.parse(source, name)
    if b"__doc__" not in source:
        _drop_docstrings(tree)
    code = compile(tree, name, "exec", dont_inherit=True, optimize=0)
    body = marshal.dumps(marshal.loads(marshal.dumps(code)))  # noqa: S302 - what was dumped a moment ago
    return importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8) + body


def _drop_docstrings(tree: ast.Module) -> None:
    """Take docstrings out: a seventh of the bytes, which would be read and kept in memory for nobody.

    As `-OO` does, but assertions stay.
    """
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if ast.get_docstring(node, clean=False) is None:
            continue
        first = node.body[0]
        empty = ast.Pass(lineno=first.lineno, col_offset=first.col_offset)
        node.body = node.body[1:] or ([] if isinstance(node, ast.Module) else [empty])


def main() -> None:
    """Compile what standard input lists."""
    for line in sys.stdin.read().splitlines():
        output, source, name = line.split("\t")
        with open(source, "rb") as stream:  # noqa: PTH123 - starts faster without pathlib
            text = stream.read()
        try:
            data = compile_one(text, name)
        except (SyntaxError, ValueError) as error:
            print(f"{name}: {type(error).__name__}: {error}")  # noqa: T201 - its protocol
            continue
        with open(output, "wb") as stream:  # noqa: PTH123 - the same
            stream.write(data)
        print("ok")  # noqa: T201 - its protocol


if __name__ == "__main__":
    main()
