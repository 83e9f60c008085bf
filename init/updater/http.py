"""Getting bytes from a repository: a web server or a folder, through proxies, with bounds on everything.

`urllib` alone: it knows `http_proxy`, `https_proxy` and `no_proxy`, and OpenSSL the machine's certificates (and
`SSL_CERT_FILE`). What comes is never believed: a length is a bound here, and whoever asks compares a hash.
"""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import IO, Protocol

SILENCE = 30.0  # seconds without a byte
PATIENCE = 60.0  # seconds for any answer, and more for what is large:
SLOWEST = 8192  # bytes a second
REDIRECTS = 5
CHUNK = 1 << 16
AGENT = "berth-updater"


class NotFoundError(OSError):
    """The repository has no such file (HTTP 403 and 404, or no file in its folder)."""


class TooLargeError(OSError):
    """More bytes came than may."""


class Getter(Protocol):
    """Where bytes come from."""

    def get(self, url: str, limit: int) -> bytes:
        """Return what lies at an address; raise NotFoundError, TooLargeError, OSError."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """At most five, and never from a secret connection to an open one, or to a file."""

    max_redirections = REDIRECTS
    max_repeats = 2

    def redirect_request(  # noqa: PLR0917 - urllib calls it so
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Return the request that follows; raise URLError for one that must not."""
        allowed = ("https://",) if req.full_url.startswith("https://") else ("http://", "https://")
        if not newurl.startswith(allowed):
            raise urllib.error.URLError(f"a redirect to {newurl[:200]} is not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class Web:
    """HTTP, HTTPS and folders (`file://`)."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._opener = urllib.request.OpenerDirector()
        self._opener.addheaders = [("User-Agent", AGENT)]
        kinds: list[urllib.request.BaseHandler] = [
            urllib.request.ProxyHandler(),
            urllib.request.HTTPHandler(),
            urllib.request.FileHandler(),
            urllib.request.UnknownHandler(),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            _Redirects(),
        ]
        if hasattr(urllib.request, "HTTPSHandler"):
            kinds.append(urllib.request.HTTPSHandler())
        for kind in kinds:
            self._opener.add_handler(kind)

    def get(self, url: str, limit: int) -> bytes:
        """Return at most `limit` bytes."""
        end = self._clock() + PATIENCE + limit / SLOWEST
        try:
            with self._opener.open(url, timeout=SILENCE) as answer:
                return self._read(answer, url, limit, end)
        except urllib.error.HTTPError as error:
            with error:
                if error.code in (403, 404):
                    raise NotFoundError(2, f"the server answers {error.code}", url) from error
                what = "redirects too often" if 300 <= error.code < 400 else f"answers {error.code}"
                raise OSError(5, f"the server {what}", url) from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, FileNotFoundError):
                raise NotFoundError(2, "there is no such file", url) from error
            raise OSError(5, str(error.reason), url) from error
        except http.client.HTTPException as error:
            raise OSError(5, f"{type(error).__name__}: {error}", url) from error
        except ValueError as error:  # an address that is none
            raise OSError(22, str(error), url) from error

    def _read(self, answer: IO[bytes], url: str, limit: int, end: float) -> bytes:
        parts: list[bytes] = []
        count = 0
        while part := answer.read(min(CHUNK, limit + 1 - count)):
            parts.append(part)
            count += len(part)
            if count > limit:
                raise TooLargeError(27, f"more than {limit} bytes came", url)
            if self._clock() > end:
                raise OSError(110, f"it came too slowly: {count} bytes so far", url)
        return b"".join(parts)
