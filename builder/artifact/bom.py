"""The bill of materials: SPDX 2.3 as JSON, of what is in the image and nothing else.

Licences are NOASSERTION: Debian's copyright files are prose in most packages, and a guess would be worse than none. The
texts themselves are in the image, below `/usr/share/doc`.
"""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path
from urllib.parse import quote

from builder.artifact.contents import Contents, WholeImage
from builder.artifact.output import Artifact, describe, write_bytes
from builder.lock.model import LockedPackage
from init.formats.release import Release

_NAMESPACE = "https://spdx.org/spdxdocs"
_UNKNOWN = "NOASSERTION"


def write_bom(contents: Contents, *, release: Release, out: Path) -> Artifact:
    """Write the bill of materials of an image."""
    text = json.dumps(document(contents, release), indent=1, ensure_ascii=False) + "\n"
    write_bytes(out, text.encode())
    return describe("sbom", out)


def document(contents: Contents, release: Release) -> dict[str, object]:
    """Return the SPDX document as plain values."""
    image = f"SPDXRef-Image-{_id(release.name)}"
    created = datetime.datetime.fromtimestamp(release.epoch, datetime.UTC)
    packages = [_package(package) for package in (*contents.packages, *contents.loader)]
    packages += [_whole_image(whole) for whole in contents.images]
    contains = [
        {"spdxElementId": image, "relationshipType": "CONTAINS", "relatedSpdxElement": package["SPDXID"]}
        for package in packages
    ]
    describes = {
        "spdxElementId": "SPDXRef-DOCUMENT",
        "relationshipType": "DESCRIBES",
        "relatedSpdxElement": image,
    }
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"{release.name}-{release.version}",
        "documentNamespace": f"{_NAMESPACE}/berth-{quote(release.name)}-{quote(release.version)}",
        "creationInfo": {"created": f"{created:%Y-%m-%dT%H:%M:%SZ}", "creators": ["Tool: berth"]},
        "packages": [_image(image, release), *packages],
        "relationships": [describes, *contains],
    }


def purl(package: LockedPackage) -> str:
    """Return a package's URL (purl-spec, type deb)."""
    name, version = quote(package.name.lower(), safe=""), quote(package.version, safe="")
    suite = quote(package.suite.partition("-")[0], safe="")
    return f"pkg:deb/debian/{name}@{version}?arch={package.architecture}&distro={suite}"


def _image(identity: str, release: Release) -> dict[str, object]:
    return {
        "SPDXID": identity,
        "name": release.name,
        "versionInfo": release.version,
        "downloadLocation": _UNKNOWN,
        "filesAnalyzed": False,
        "licenseConcluded": _UNKNOWN,
        "licenseDeclared": _UNKNOWN,
        "copyrightText": _UNKNOWN,
        "primaryPackagePurpose": "OPERATING-SYSTEM",
    }


def _package(package: LockedPackage) -> dict[str, object]:
    return {
        "SPDXID": f"SPDXRef-Package-{_id(package.name)}-{_id(package.architecture)}-{_id(package.version)}",
        "name": package.name,
        "versionInfo": package.version,
        "packageFileName": package.filename.rpartition("/")[2],
        "supplier": "Organization: Debian",
        "downloadLocation": _UNKNOWN,
        "filesAnalyzed": False,
        "checksums": [{"algorithm": "SHA256", "checksumValue": package.sha256}],
        "sourceInfo": f"built from the source package {package.source} {package.source_version}",
        "licenseConcluded": _UNKNOWN,
        "licenseDeclared": _UNKNOWN,
        "copyrightText": _UNKNOWN,
        "externalRefs": [_reference(purl(package))],
    }


def _whole_image(image: WholeImage) -> dict[str, object]:
    name = quote(image.name.lower(), safe="")
    return {
        "SPDXID": f"SPDXRef-Container-{_id(image.name)}",
        "name": image.name,
        "versionInfo": image.digest,
        "downloadLocation": _UNKNOWN,
        "filesAnalyzed": False,
        "checksums": [{"algorithm": "SHA256", "checksumValue": image.digest.removeprefix("sha256:")}],
        "licenseConcluded": _UNKNOWN,
        "licenseDeclared": _UNKNOWN,
        "copyrightText": _UNKNOWN,
        "primaryPackagePurpose": "CONTAINER",
        "externalRefs": [_reference(f"pkg:oci/{name}@{quote(image.digest, safe='')}")],
    }


def _reference(locator: str) -> dict[str, str]:
    return {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": locator}


def _id(text: str) -> str:
    """Return `text` in the letters that an SPDX identifier may have; `+` is spelt out, for g++ is not g--."""
    return re.sub(r"[^A-Za-z0-9.-]", "-", text.replace("+", "plus"))
