"""The table of docs/testing.md that says which test sees each key of the configuration: whole, and true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from init.dialects.berth import BERTH
from init.dialects.cloudconfig import CLOUD_CONFIG
from init.dialects.files import WRITE_FILE
from init.dialects.identity import USER
from init.dialects.record import Record

ROOT = Path(__file__).resolve().parent.parent
NETWORK = (
    "static addresses", "DHCP4", "DHCP6", "routes", "name servers", "MTU", "match by MAC", "set-name", "bonds", "VLANs",
    "bridges",
)  # fmt: skip
BELOW = ("random_seed.file",)  # keys of a key that are acted on in a way of their own
ROW = re.compile(r"\| (.+?) \| `([\w/-]+\.py)`: `(test_\w+)` \|")


def rows() -> list[tuple[list[str], Path, str]]:
    """Return keys, file and test of each row below the table's heading."""
    text = (ROOT / "docs/testing.md").read_text()
    section = text.partition("\n## Keys, and who sees them\n")[2].partition("\n## ")[0]
    found = [ROW.fullmatch(line) for line in section.splitlines() if line.startswith("| ") and ".py" in line]
    return [([key.strip(" `") for key in row[1].split(", ")], ROOT / row[2], row[3]) for row in found if row]


def acted_on(record: Record, prefix: str) -> set[str]:
    return {f"{prefix}{name}" for name, key in record.keys.items() if key.ignored is None}


def test_every_key_that_is_acted_on_stands_in_the_table() -> None:
    wanted = (
        acted_on(CLOUD_CONFIG, "") | acted_on(USER, "users.") | acted_on(WRITE_FILE, "write_files.")
        | acted_on(BERTH, "berth.") | set(NETWORK) | set(BELOW)
    )  # fmt: skip
    told = [key for keys, _, _ in rows() for key in keys]
    assert sorted(set(told)) == sorted(wanted)


@pytest.mark.parametrize(("keys", "file", "test"), rows(), ids=lambda each: each if isinstance(each, str) else "")
def test_the_test_of_a_row_is_there_and_its_file_has_the_keys(keys: list[str], file: Path, test: str) -> None:
    text = file.read_text()
    assert f"def {test}(" in text
    # Some configurations are shared by several files of tests, in a module that these import.
    modules = re.findall(r"^from (\w+) import", text, re.MULTILINE)
    text += "".join(path.read_text() for name in modules if (path := file.with_name(f"{name}.py")).exists())
    for key in keys:
        if key not in NETWORK:
            assert re.search(rf"\b{key.rpartition('.')[2]}:", text), f"{key} is not in {file.name}"
