"""What a repository offers: TUF's client workflow (specification 1.0.33, section 5) by python-tuf, over our own getter.

The trusted root comes from the image or from the machine's config; roots that followed it, and the newest other
metadata, are kept on state, so that nobody can show this machine an older view than it has seen. The clock is not
believed below `floor`: expired metadata stays expired on a machine whose battery is empty.
"""

from __future__ import annotations

import datetime
import hashlib
import inspect
import io
import sys
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

from init.formats import offer as offers
from init.formats import release
from init.formats.offer import Offer
from init.updater.errors import FailedError, RefusedError
from init.updater.http import Getter, NotFoundError, TooLargeError

BAKED_ROOT = release.UPDATE_ROOT_PATH
PAUSES = (1.0, 3.0, 10.0)  # seconds before a failed download of metadata is tried again
ROOT_MOST = 1 << 19  # bytes

# python-tuf imports its own fetcher with its client: 5 (on the machine) one that needs requests, later ones urllib3.
# A machine has neither.
for _module, _name in (
    ("tuf.ngclient._internal.requests_fetcher", "RequestsFetcher"),
    ("tuf.ngclient.urllib3_fetcher", "Urllib3Fetcher"),
):
    if _module not in sys.modules:
        sys.modules[_module] = types.ModuleType(_module)
        setattr(sys.modules[_module], _name, type(_name, (), {}))

from tuf.api import exceptions  # noqa: E402
from tuf.ngclient.config import UpdaterConfig  # noqa: E402
from tuf.ngclient.fetcher import FetcherInterface  # noqa: E402
from tuf.ngclient.updater import Updater  # noqa: E402


class Fetcher(FetcherInterface):
    """TUF's downloads through our getter. What fails in passing is tried again; a file that isn't there is not."""

    def __init__(self, getter: Getter, sleep: Callable[[float], None] = time.sleep) -> None:
        self._getter = getter
        self._sleep = sleep

    def _fetch(self, url: str) -> Iterator[bytes]:
        yield self.download_bytes(url, UpdaterConfig().targets_max_length)

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """Return what lies at an address; raise TUF's own download errors."""
        for pause in (*PAUSES, None):
            try:
                return self._getter.get(url, max_length)
            except NotFoundError as error:
                raise exceptions.DownloadHTTPError(f"{url}: {error.strerror}", 404) from error
            except TooLargeError as error:
                raise exceptions.DownloadLengthMismatchError(f"{url}: {error.strerror}") from error
            except OSError as error:
                if pause is None:
                    raise exceptions.DownloadError(f"{url}: {error.strerror or error}") from error
                self._sleep(pause)
        raise AssertionError("the last pause is None")

    @contextmanager
    def download_file(self, url: str, max_length: int) -> Iterator[IO[bytes]]:
        """Give the same as a file."""
        yield io.BytesIO(self.download_bytes(url, max_length))


def trusted_root(configured: str | None, baked: str = BAKED_ROOT) -> bytes:
    """Return the root that all trust begins with: the config's, else the image's. Raise RefusedError for none."""
    path = configured or baked
    try:
        with Path(path).open("rb") as file:
            data = file.read(ROOT_MOST + 1)
    except FileNotFoundError:
        raise RefusedError(
            "this machine trusts no repository: neither the image (build.update_root) nor the config"
            " (berth.update.root) names a root"
        ) from None
    if len(data) > ROOT_MOST:
        raise RefusedError(f"the trusted root is larger than {ROOT_MOST} bytes")
    return data


def newest(
    *, repository: str, machine_class: str, channel: str, root: bytes, kept: Path, floor: float, fetcher: Fetcher
) -> Offer:
    """Return the channel's newest offer, verified. `kept`: TUF's folder on state; `floor`: seconds, UTC.

    Raise RefusedError for whatever does not verify, FailedError where the repository can't be reached.
    """
    base = repository.rstrip("/") + "/"
    # Who gives another root begins anew: what the old one vouched for says nothing.
    folder = kept / hashlib.sha256(base.encode() + b"\0" + root).hexdigest()[:16]
    (folder / "targets").mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        target = offers.channel_target(machine_class, channel)
        client = _client(base, root, folder, fetcher)
        now = max(time.time(), floor)
        client._trusted_set.reference_time = datetime.datetime.fromtimestamp(now, datetime.UTC)  # noqa: SLF001 - there is no other way to tell it the time
        client.refresh()
        found = client.get_targetinfo(target)
        if found is None:
            raise RefusedError(f"the repository has no release of the class {machine_class} on the channel {channel}")
        if found.length > offers.LARGEST:
            raise RefusedError(f"the offer has {found.length} bytes: at most {offers.LARGEST}")
        return Offer.from_json(Path(client.download_target(found, str(folder / "targets" / "offer.json"))).read_bytes())
    except exceptions.DownloadError as error:
        raise FailedError(f"the repository can't be read: {error}") from error
    except exceptions.ExpiredMetadataError as error:
        raise RefusedError(f"the repository's metadata has expired: {error}") from error
    except exceptions.UnsignedMetadataError as error:
        raise RefusedError(f"bad signature: {error}") from error
    except exceptions.RepositoryError as error:
        raise RefusedError(f"the repository's metadata does not verify: {error}") from error
    except ValueError as error:
        raise RefusedError(f"the offer can't be understood: {error}") from error


def _client(base: str, root: bytes, folder: Path, fetcher: Fetcher) -> Updater:
    """Return TUF's client: 5 (on the machine) begins with the newest root in its folder, later ones with an argument.

    Raise RepositoryError where the root is none.
    """
    make: Any = Updater
    arguments: dict[str, Any] = {
        "metadata_dir": str(folder),
        "metadata_base_url": base + offers.METADATA_PATH,
        "target_dir": str(folder / "targets"),
        "target_base_url": base + offers.TARGETS_PATH,
        "fetcher": fetcher,
    }
    if "bootstrap" in inspect.signature(Updater).parameters:
        return cast("Updater", make(**arguments, bootstrap=root))
    newest_root = folder / "root.json"
    if newest_root.exists():
        # It is not synced when it is renewed: a power cut may leave it empty.
        with suppress(OSError, exceptions.RepositoryError):
            return cast("Updater", make(**arguments))
    newest_root.write_bytes(root)
    return cast("Updater", make(**arguments))
