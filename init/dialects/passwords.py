"""What a crypt(5) hash and an OpenSSH public key look like. Values are never quoted."""

from __future__ import annotations

import base64
import binascii
import re

_HASH = re.compile(r"\$(y|gy|7|2[abxy]|6|5|sm3|1|md5|sha1)\$[./A-Za-z0-9$,=+-]{8,}")
_LOCKED = {"*", "!", "!!", "!*", "x", ""}
_KEY_TYPES = (
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-ed25519-cert-v01@openssh.com",
    "ssh-rsa-cert-v01@openssh.com",
    "ecdsa-sha2-nistp256-cert-v01@openssh.com",
)
HINT = "make one with `openssl passwd -6` or `mkpasswd -m yescrypt`"


def is_hash(text: str) -> bool:
    """Tell whether a text is a hash that libcrypt knows."""
    return _HASH.fullmatch(text) is not None


def is_lock(text: str) -> bool:
    """Tell whether a text stands for "no password"."""
    return text in _LOCKED


def key_problem(text: str) -> str | None:
    """Return what is wrong with a line of `authorized_keys`, or None.

    A key that was wrapped or cut on the way is told by its own length fields (RFC 4253, 6.6).
    """
    if "\n" in text.strip():
        return "a key is one line; this one was wrapped"
    words = _split_options(text.strip())
    index = next((number for number, word in enumerate(words[:2]) if word in _KEY_TYPES), None)
    if index is None:
        if "PRIVATE KEY" in text:
            return "this is a private key: give the public one"
        return "no type of key that sshd takes (ssh-ed25519, ssh-rsa, ecdsa-sha2-…)"
    if len(words) <= index + 1:
        return "the key itself is missing after its type"
    try:
        blob = base64.b64decode(words[index + 1], validate=True)
    except (binascii.Error, ValueError):
        return "the key is not base64: was it shortened?"
    return _blob_problem(blob, words[index])


def _blob_problem(blob: bytes, kind: str) -> str | None:
    parts, rest = [], blob
    while rest:
        size = int.from_bytes(rest[:4], "big")
        if len(rest) < 4 + size or len(rest) < 4:
            return "the key ends too early: was it shortened?"
        parts.append(rest[4 : 4 + size])
        rest = rest[4 + size :]
    if not parts or parts[0] != kind.encode():
        return "the key is of another type than it says"
    return None if len(parts) >= 2 else "the key ends too early: was it shortened?"


def _split_options(text: str) -> list[str]:
    """Split at blanks outside of double quotes, for options may hold both."""
    words, word, quoted = [], "", False
    for letter in text:
        if letter == '"':
            quoted = not quoted
        if letter in " \t" and not quoted:
            if word:
                words.append(word)
            word = ""
        else:
            word += letter
    return [*words, word] if word else words
