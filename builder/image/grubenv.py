"""A GRUB environment block: the signature line, `name=value` lines, and `#` to the end.

Source: GRUB 2.12, `grub-core/lib/envblk.c`; a value's backslashes and newlines are escaped by a backslash.
"""

from __future__ import annotations

SIGNATURE = b"# GRUB Environment Block\n"


def block(variables: dict[str, str], size: int) -> bytes:
    """Return a block of `size` bytes. Raises ValueError where the variables don't fit."""
    body = SIGNATURE
    for name, value in variables.items():
        escaped = value.replace("\\", "\\\\").replace("\n", "\\\n")
        body += f"{name}={escaped}\n".encode()
    if len(body) > size:
        raise ValueError(f"{len(body)} bytes of variables in a block of {size}")
    return body + b"#" * (size - len(body))
