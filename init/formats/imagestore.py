"""Names in the store of baked images (`/usr/lib/berth/images`), in the layout of github.com/containers/storage."""

from __future__ import annotations

from init.formats.sha256 import sha256

LOCAL_HOST = "localhost"


def full_name(name: str) -> str:
    """Return the reference an engine lists for a baked image: `localhost/NAME:latest` for a plain word."""
    with_host = name if "/" in name else f"{LOCAL_HOST}/{name}"
    last = with_host.rpartition("/")[2]
    return with_host if ":" in last or "@" in last else f"{with_host}:latest"


def short_name(layer_id: str) -> str:
    """Return the 26 letters that stand for a layer in `overlay/l/`: mount(2) takes one page of options."""
    import base64  # noqa: PLC0415 - the machine mostly reads these names

    return base64.b32encode(sha256(layer_id.encode()).digest()).decode()[:26]


def big_data_name(key: str) -> str:
    """Return the file name of an image's datum below `overlay-images/ID/`."""
    import binascii  # noqa: PLC0415 - built in, unlike `base64`

    plain = all(letter == "." or letter.isdigit() or "a" <= letter <= "z" for letter in key)
    return key if plain else "=" + binascii.b2a_base64(key.encode(), newline=False).decode()
