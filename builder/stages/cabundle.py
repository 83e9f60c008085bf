"""The trusted authorities as one file, as `update-ca-certificates` of ca-certificates makes it.

The bundle alone: OpenSSL finds it through `/usr/lib/ssl/cert.pem`, Go, GnuTLS and curl through
`/etc/ssl/certs/ca-certificates.crt`. The links named after each subject's hash, which `openssl rehash` would add,
serve look-ups in the folder; nothing needs them beside the bundle, and in an `/etc` that lives in memory each of
them would cost a kilobyte.
"""

from __future__ import annotations

import base64
import binascii

from builder.errors import BuildError
from builder.rootfs.archive import NOT_DEBIANS
from builder.rootfs.entry import Entry, Kind
from builder.rootfs.unpack import Unpacked
from builder.stages.context import StageContext
from builder.stages.draft import Draft

_SOURCE = "usr/share/ca-certificates/"
_LOCAL = "usr/local/share/ca-certificates/"
BUNDLE = "usr/share/ca-certificates/ca-certificates.crt"
_BEGIN = "-----BEGIN CERTIFICATE-----"
_END = "-----END CERTIFICATE-----"


def run(draft: Draft, context: StageContext, unpacked: Unpacked) -> str:
    """Write the bundle below `/usr`, with links where programs look for it."""
    certificates = [
        node for node in unpacked.whole.entries
        if node.kind is Kind.FILE and node.path.endswith(".crt") and node.path.startswith((_SOURCE, _LOCAL))
    ]  # fmt: skip
    if not any(deb.name == "ca-certificates" for deb in unpacked.debs):
        return "no authorities"
    texts = [_certificate(node, context.store.read(node.sha256)) for node in sorted(certificates, key=_order)]
    draft.file(BUNDLE, "".join(texts))
    draft.link("etc/ssl/certs/ca-certificates.crt", f"/{BUNDLE}")
    for link, target in (
        ("usr/lib/ssl/cert.pem", "/etc/ssl/certs/ca-certificates.crt"),
        ("usr/lib/ssl/certs", "/etc/ssl/certs"),
    ):
        if link not in draft:  # the package `openssl` brings them, the libraries only look for them
            draft.link(link, target)
    return f"{len(texts)} authorities"


def _order(node: Entry) -> bytes:
    # update-ca-certificates takes the order of /etc/ca-certificates.conf, which its postinst sorts
    return node.path.encode()


def _certificate(node: Entry, data: bytes) -> str:
    text = data.decode("ascii", "replace").replace("\r\n", "\n").strip()
    body = text.removeprefix(_BEGIN).removesuffix(_END)
    if not (text.startswith(_BEGIN) and text.endswith(_END)) or _BEGIN in body:
        raise BuildError(f"`/{node.path}` of {node.origin} is not one certificate in PEM", hint=NOT_DEBIANS)
    try:
        base64.b64decode("".join(body.split()), validate=True)
    except binascii.Error as error:
        raise BuildError(
            f"`/{node.path}` of {node.origin} is a damaged certificate: {error}", hint=NOT_DEBIANS
        ) from error
    return text + "\n"
