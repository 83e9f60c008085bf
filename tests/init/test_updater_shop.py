"""The shop of the QEMU tests, seen by a machine's own updater: what it sells, and what its forger signs in between."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fakes.bundles import bundle, numbered
from fakes.repositories import CLASS
from fakes.shop import CHANNEL, Shop

from init.formats.offer import Offer
from init.updater import check
from init.updater.errors import RefusedError
from init.updater.http import Web


def test_machines_read_what_is_published_and_refuse_what_is_forged(tmp_path: Path) -> None:
    with Shop(tmp_path / "shop") as shop:

        def look() -> Offer:
            return check.newest(
                repository=f"http://127.0.0.1:{shop.port}/", machine_class=CLASS, channel=CHANNEL, root=shop.root,
                kept=tmp_path / "kept", floor=0.0, fetcher=check.Fetcher(Web(), sleep=lambda _: None),
            )  # fmt: skip

        shop.publish_small("expired")
        shop.expire()
        with pytest.raises(RefusedError, match="expired"):
            look()
        shop.publish_small("unsigned")
        signed = shop.folder / "metadata/timestamp.json"
        signed.write_bytes(signed.read_bytes().replace(b'"spec_version":', b'"unsigned": 1, "spec_version":'))
        with pytest.raises(RefusedError, match="signature"):
            look()
        assert shop.publish_small("loader", loader=2) == look()
        large = shop.publish_small("large")
        shop.offer_instead(large, root=replace(large.root, size=2 << 30))
        assert look().root.size == 2 << 30
        running = shop.publish(bundle(tmp_path, numbered(99)))
        assert running == look()
        shop.offer_instead(shop.publish_small("older"), sequence=1)
        assert (look().version, look().sequence) == ("older", 1)
        del shop.asked[:]
        newest = shop.publish_small("newest")
        assert newest == look()
        assert newest.sequence == running.sequence + 2
        assert "metadata/timestamp.json" in shop.asked
