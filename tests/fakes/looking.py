"""A machine's look into a repository, as a program: run under the python-tuf that a machine has.

PYTHONPATH=… python -S looking.py     a JSON object a line in, a JSON object a line out
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> None:
    from init.updater import check  # noqa: PLC0415 - this file's own folder is no part of the path
    from init.updater.errors import UpdateError  # noqa: PLC0415
    from init.updater.http import Web  # noqa: PLC0415

    for line in sys.stdin:
        asked = json.loads(line)
        try:
            offer = check.newest(
                repository=asked["repository"], machine_class=asked["class"], channel=asked["channel"],
                root=bytes.fromhex(asked["root"]), kept=Path(asked["kept"]), floor=asked["floor"],
                fetcher=check.Fetcher(Web(), sleep=lambda _: None),
            )  # fmt: skip
            answer = {"offer": offer.to_json().decode()}
        except UpdateError as error:
            answer = {"kind": type(error).__name__, "why": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    sys.path.pop(0)
    main()
