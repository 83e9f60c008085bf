"""SHA-256 that is built into the interpreter: `hashlib` loads OpenSSL for it, 5 MB from the disk and 2 MB of memory.

On the machine that is what a container's start would wait for, and what PID 1 would hold for ever. Whatever hashes many
megabytes takes `hashlib`, which knows the processor's own instructions for it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hashlib import sha256
else:

    def _built_in() -> object:
        for name in ("_sha2", "_sha256", "hashlib"):  # since Python 3.12; before it; built without either
            try:
                return __import__(name).sha256
            except ImportError:
                continue
        raise ImportError("this Python has no SHA-256")

    sha256 = _built_in()

__all__ = ["sha256"]
