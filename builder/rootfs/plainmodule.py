"""A kernel module as the plain bytes that the kernel links: unpacked, and without the signature behind them.

    module · signature (sig_len bytes) · struct module_signature (12 bytes, sig_len in the last 4, big-endian) · MAGIC

Source: Linux, `include/linux/module_signature.h`, `kernel/module/signing.c`.
Why it is cut: docs/adr/0003-module-signatures.md.
"""

from __future__ import annotations

from builder.errors import BuildError
from builder.rootfs.archive import NOT_DEBIANS, Bounds, expand_xz

MAGIC = b"~Module signature appended~\n"
_STRUCT = 12
_BOUNDS = Bounds(content=256 << 20)  # bytes; trixie's largest module, amdgpu, is one of 30 MB


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


def plain(path: str, data: bytes) -> bytes:
    """Return a module's plain bytes without signature. Raises BuildError for bytes that are no module."""
    try:
        if path.endswith(".xz"):
            data = expand_xz(data, _BOUNDS)
        module = without_signature(data)
    except ValueError as error:
        raise BuildError(f"kernel module {path}: {error}", hint=NOT_DEBIANS) from error
    if not module.startswith(b"\x7fELF"):
        raise BuildError(f"kernel module {path}: neither an ELF file nor one packed by xz", hint=NOT_DEBIANS)
    return module
