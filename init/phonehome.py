"""Tells the URL of `phone_home` that the machine is up; a child of PID 1, which starts it again when it fails.

    phone-home URL MARKER NAME=TEXT… NAME@FILE…

The form is cloud-init's (`cc_phone_home`): what is asked for and isn't there is `N/A`. The marker is made when the
address has answered: the call is made once per instance, not once per boot.
"""

from __future__ import annotations

import os
import ssl
import sys
import urllib.parse
import urllib.request

from init.formats import redact

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

TIMEOUT = 30.0  # seconds
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


def main(words: Sequence[str]) -> int:
    """Make the call; return 0 when the address took it."""
    url, marker, *pairs = words
    body = urllib.parse.urlencode(dict(fact(pair) for pair in pairs)).encode()
    try:
        request = urllib.request.Request(url, data=body, headers={"User-Agent": "berth"})  # noqa: S310 - the configuration's own URL
        with _opener().open(request, timeout=TIMEOUT) as answer:
            answer.read(1 << 16)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{redact.origin(url)} did not take the report: {getattr(error, 'reason', None) or error}\n")
        return 1
    os.makedirs(os.path.dirname(marker), exist_ok=True)  # noqa: PTH103, PTH120 - pathlib costs this child its start
    with open(marker, "wb") as file:  # noqa: PTH123 - the same
        os.fsync(file.fileno())
    return 0


def fact(pair: str) -> tuple[str, str]:
    """Read `NAME=TEXT` or `NAME@FILE`."""
    at = next((number for number, letter in enumerate(pair) if letter in "=@"), len(pair))
    name, text = pair[:at], pair[at + 1 :]
    if pair[at : at + 1] == "@":
        try:
            with open(text, encoding="utf-8") as file:  # noqa: PTH123 - the same
                text = file.read(1 << 16).strip()
        except OSError:
            text = ""
    return name, text or "N/A"


def _opener() -> urllib.request.OpenerDirector:
    context = ssl.create_default_context()
    if os.path.exists(BUNDLE):  # noqa: PTH110 - the same
        context.load_verify_locations(cafile=BUNDLE)
    return urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))
