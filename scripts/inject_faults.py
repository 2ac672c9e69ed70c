"""Inject every fault of `docs/reliability.md` on made-up data, and print what happened.

``python scripts/inject_faults.py`` runs all, ``python scripts/inject_faults.py full_disk sigterm``
some; ``--list`` names them. It exits with 1 if one is not survived. Linux alone: faults run in
forks, and some of them need the rights of root to make a small disk.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # Bits are compared.
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import torch
from faults import FAULTS
from faults.bench import Bench, NotSurvivedError

from glip_pl.system.machine import device_name


def main(args: Sequence[str] | None = None) -> int:
    """Inject, print the table, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="faults; all by default")
    parser.add_argument("--list", action="store_true", help="name the faults, and stop")
    parser.add_argument("--table", type=Path, help="also write the table to this file")
    options = parser.parse_args(args)
    if options.list:
        sys.stdout.write("".join(f"{name}: {fault.how}\n" for name, fault in FAULTS.items()))
        return 0
    unknown = sorted(set(options.names) - set(FAULTS))
    if unknown:
        parser.error(f"{', '.join(unknown)} is none of {', '.join(FAULTS)}")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="faults") as folder:
        rows = inject(options.names or list(FAULTS), Path(folder))
    table = write_table(rows)
    sys.stdout.write(f"\n{table}")
    if options.table is not None:
        options.table.write_text(table)
    return int(not all(survived for *_, survived in rows))


def inject(names: Sequence[str], folder: Path) -> list[tuple[str, str, str, bool]]:
    """Inject faults one after the other: name, how, what happened, and whether it was survived."""
    bench, rows = Bench(folder), []
    for name in names:
        start = time.monotonic()
        survived = False
        try:
            happened = FAULTS[name].inject(bench)
            survived = True
        except NotSurvivedError as error:
            happened = str(error)
            sys.stdout.write(f"{happened}\n")
        except Exception as error:  # What it takes to inject is no part of what is tried.
            happened = f"{type(error).__name__}: {error}"
            sys.stdout.write(f"{happened}\n")
        seconds = time.monotonic() - start
        sys.stdout.write(f"{'ok ' if survived else 'NO '} {name} ({seconds:.0f} s): {happened}\n")
        sys.stdout.flush()
        rows.append((name, FAULTS[name].how, " ".join(happened.split()), survived))
    return rows


def write_table(rows: Sequence[tuple[str, str, str, bool]]) -> str:
    """Write the table of the page."""
    where = f"{device_name(torch.device('cpu'))}, {len(os.sched_getaffinity(0))} cores"
    lines = [
        f"{date.today()}, {where}, {platform.system()}, PyTorch {torch.__version__}:",
        "",
        "| fault | how injected | what happened | survived |",
        "| --- | --- | --- | --- |",
    ]
    for name, how, happened, survived in rows:
        told = happened.replace("|", "\\|")[:300]
        lines.append(
            f"| {name.replace('_', ' ')} | {how} | {told} | {'yes' if survived else 'no'} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
