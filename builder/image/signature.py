"""A kernel module's signature, which stands behind the module's own bytes, and how it is cut off.

    module · signature (sig_len bytes) · struct module_signature (12 bytes, sig_len in the last 4, big-endian) · MAGIC

Source: Linux, `include/linux/module_signature.h`, `kernel/module/signing.c`.
Why it is cut: docs/adr/0003-module-signatures.md.
"""

from __future__ import annotations

MAGIC = b"~Module signature appended~\n"
_STRUCT = 12


def without_signature(data: bytes) -> bytes:
    """Return a module without its signatures; one without any is returned as it is.

    Raises ValueError where a signature claims to be longer than the file.
    """
    while data.endswith(MAGIC):
        end = len(data) - len(MAGIC)
        length = int.from_bytes(data[end - 4 : end], "big")
        cut = end - _STRUCT - length
        if cut <= 0:
            raise ValueError(f"a signature of {length} bytes in a module of {len(data)}")
        data = data[:cut]
    return data
