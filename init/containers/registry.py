"""Pulls an image from a registry (OCI distribution specification 1.1), with the standard library alone.

Every byte is verified against the digest that led to it; only a tag is believed from the registry itself, over TLS.
Credentials go to the registry's own host, and on its word to its token server; never along a redirect.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import ssl
import urllib.error
import urllib.parse
import urllib.request

from init.containers.archive import choose
from init.containers.image import Blob, Found, ImageError
from init.containers.reference import is_digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from http.client import HTTPResponse
    from typing import Any, BinaryIO

    from init.containers.reference import Reference
    from init.formats.machine import Registry

_SMALL = 4 << 20
_TIMEOUT = 30.0  # seconds without a byte
_SYSTEM_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
_ACCEPT = (
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"
)
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


class Client:
    """Talks to one registry about one repository."""

    def __init__(
        self, reference: Reference, registries: tuple[Registry, ...], certificates: tuple[str, ...] = ()
    ) -> None:
        self._reference = reference
        self._registry = next((each for each in registries if each.host == reference.host), None)
        insecure = self._registry is not None and self._registry.insecure
        context = _trust(self._registry, certificates)
        handlers = (urllib.request.HTTPSHandler(context=context), _SafeRedirects(insecure))
        self._opener = urllib.request.build_opener(*handlers)
        self._schemes = ("https", "http") if insecure else ("https",)
        self._authorization: str | None = None

    def digest(self) -> str:
        """Ask which manifest the reference means now. Raise ImageError."""
        return f"sha256:{hashlib.sha256(self._manifest(self._reference.name)).hexdigest()}"

    def find(self) -> Found:
        """Fetch manifest and configuration; the layers are fetched as they are read. Raise ImageError."""
        data = self._manifest(self._reference.name)
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        for _ in range(3):
            document = _object(data)
            if "manifests" not in document:
                break
            data = self._manifest(choose(document["manifests"]))
        try:
            config_digest = str(document["config"]["digest"])
            layers = tuple(self._layer(descriptor) for descriptor in document["layers"])
        except (KeyError, TypeError, ValueError) as error:
            raise ImageError("its manifest is of a kind that is not known here") from error
        with self._get(f"blobs/{_digest(config_digest)}") as response:
            config = _bounded(response, config_digest)
        return Found(digest=digest, config=config, layers=layers)

    def _layer(self, descriptor: dict[str, Any]) -> Blob:
        digest = _digest(descriptor["digest"])
        return Blob(digest=digest, size=int(descriptor["size"]), open=lambda: self._open(digest))

    def _open(self, digest: str) -> BinaryIO:
        return self._get(f"blobs/{digest}")

    def _manifest(self, name: str) -> bytes:
        with self._get(f"manifests/{name}", accept=_ACCEPT) as response:
            return _bounded(response, name if is_digest(name) else None)

    def _get(self, path: str, accept: str = "*/*") -> HTTPResponse:
        for scheme in self._schemes:
            url = f"{scheme}://{self._reference.host}/v2/{self._reference.repository}/{path}"
            try:
                return self._answered(url, accept)
            except ssl.SSLError as error:
                reason: Exception = error
            except urllib.error.URLError as error:
                reason = error.reason if isinstance(error.reason, Exception) else error
            except OSError as error:
                reason = error
        raise ImageError(f"the registry {self._reference.host} can't be asked: {_told(reason)}") from reason

    def _answered(self, url: str, accept: str) -> HTTPResponse:
        for attempt in (1, 2):
            request = urllib.request.Request(url, headers={"Accept": accept, "User-Agent": "berth"})  # noqa: S310 - https above
            if self._authorization:
                request.add_unredirected_header("Authorization", self._authorization)
            try:
                return self._opener.open(request, timeout=_TIMEOUT)  # type: ignore[no-any-return]
            except urllib.error.HTTPError as error:
                with error:
                    if error.code == 401 and attempt == 1:
                        self._authorization = self._authorize(error.headers.get("WWW-Authenticate", ""))
                        continue
                    raise ImageError(self._refused(error.code)) from error
        raise ImageError(self._refused(401))

    def _refused(self, code: int) -> str:
        host = self._reference.host
        if code in (401, 403):
            known = "does not take" if self._registry and self._registry.username else "wants"
            return f"the registry {host} {known} a user and a password (`registries:` in the config)"
        if code == 404:
            return f"the registry {host} has no {self._reference.repository}:{self._reference.name}"
        return f"the registry {host} answered with HTTP status {code}"

    def _authorize(self, challenge: str) -> str:
        """Return the header for the next try (RFC 6750, and Docker's token specification)."""
        kind, _, rest = challenge.partition(" ")
        if kind.lower() == "basic":
            return self._basic() or ""
        fields = dict(_CHALLENGE.findall(rest))
        realm = fields.get("realm", "")
        if kind.lower() != "bearer" or not realm.startswith(("https://", *(f"{each}://" for each in self._schemes))):
            raise ImageError(f"the registry {self._reference.host} asks for a log-in of a kind that is not known here")
        query = urllib.parse.urlencode(
            {"service": fields.get("service", ""), "scope": f"repository:{self._reference.repository}:pull"}
        )
        request = urllib.request.Request(f"{realm}?{query}", headers={"User-Agent": "berth"})  # noqa: S310 - checked above
        basic = self._basic()
        if basic:
            request.add_unredirected_header("Authorization", basic)
        try:
            with self._opener.open(request, timeout=_TIMEOUT) as response:
                document = _object(_bounded(response, None))
        except urllib.error.HTTPError as error:
            with error:
                raise ImageError(self._refused(error.code)) from error
        return f"Bearer {document.get('token') or document.get('access_token') or ''}"

    def _basic(self) -> str | None:
        if self._registry is None or self._registry.username is None:
            return None
        pair = f"{self._registry.username}:{self._registry.password or ''}"
        return "Basic " + base64.b64encode(pair.encode()).decode()


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects to https alone, unless the registry was declared insecure."""

    def __init__(self, insecure: bool) -> None:
        self._insecure = insecure

    def redirect_request(  # noqa: PLR0917 - the standard library's form
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        if not newurl.startswith("https://") and not (self._insecure and newurl.startswith("http://")):
            raise ImageError("the registry leads to a place without encryption")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _trust(registry: Registry | None, certificates: tuple[str, ...]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if os.path.exists(_SYSTEM_BUNDLE):  # noqa: PTH110 - without pathlib
        context.load_verify_locations(cafile=_SYSTEM_BUNDLE)
    try:
        for text in (*certificates, registry.ca if registry else None):
            if text:
                context.load_verify_locations(cadata=text)
    except ssl.SSLError as error:
        raise ImageError("a CA certificate of the config is no PEM certificate") from error
    if registry is not None and registry.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _told(reason: Exception) -> str:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({reason.verify_message}); `ca:` under `registries:` names one"
    if isinstance(reason, TimeoutError):
        return f"no answer within {_TIMEOUT:.0f} seconds"
    return getattr(reason, "strerror", None) or str(reason)


def _digest(text: object) -> str:
    if not is_digest(text):
        raise ImageError(f"`{text}` is no digest that is known here")
    return str(text)


def _bounded(response: Any, digest: str | None) -> bytes:
    data: bytes = response.read(_SMALL + 1)
    if len(data) > _SMALL:
        raise ImageError("the registry sends a manifest that is too large")
    if digest is not None and f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
        raise ImageError(f"the registry sends other content than {digest} says")
    return data


def _object(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ImageError("the registry sends no JSON") from error
    if not isinstance(document, dict):
        raise ImageError("the registry sends no JSON object")
    return document
