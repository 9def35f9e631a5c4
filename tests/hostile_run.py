"""Run as `python hostile_run.py FOLDER MEGABYTES`: loads every file of FOLDER with no more than so much memory beyond
what the imports took, and prints a JSON record per file: outcome, seconds of processor time, and what was opened
outside FOLDER."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from sds3d.assets import load_asset
from sds3d.errors import UserError


def data_bytes() -> int:
    """Private writable memory of this process."""
    line = next(row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith("VmData"))
    return int(line.split()[1]) * 1024


def main(folder: Path, megabytes: int) -> None:
    import zstandard  # noqa: F401

    opened: list[str] = []
    sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event in ("open", "socket.connect") else None)
    limit = data_bytes() + (megabytes << 20)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    records = {}
    for path in sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("_")):
        opened.clear()
        start = time.process_time()
        try:
            outcome = f"loaded {type(load_asset(path)).__name__}"
        except UserError as error:
            outcome = str(error).removeprefix(f"{path} ")
        except BaseException as error:
            outcome = f"CRASH {type(error).__name__}: {error}"
        outside = [name for name in opened if not name.startswith((str(folder), sys.prefix, sys.base_prefix))]
        records[path.name] = {"outcome": outcome, "seconds": time.process_time() - start, "outside": outside}
    print(json.dumps(records))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
