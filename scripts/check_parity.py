"""Compare this project with values that official GLIP computed.

    python scripts/check_parity.py FOLDER

Every case of the folder is checked (what a case is, says `parity`), the largest deviation of each
stage is printed beside what is allowed, and the exit status is 1 if any is beyond that.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from parity import CHECKS
from parity.case import Case, Stage


def cases(folder: Path) -> list[Case]:
    """List the cases of a folder, by name."""
    return [
        Case(path)
        for path in sorted(folder.glob("*.json"))
        if isinstance(facts := json.loads(path.read_text()), dict) and "kind" in facts
    ]


def check(case: Case) -> Iterator[Stage]:
    """Check a case; a kind that nobody knows is a stage that fails."""
    kind = case.facts["kind"]
    if kind in CHECKS:
        return CHECKS[kind](case)
    return iter([Stage(f"no check for the kind {kind!r}", float("inf"), 0.0)])


def main() -> int:
    """Check a folder and print what was found; give the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder of reference values")
    parser.add_argument("--only", default="", help="check only the cases with this in their name")
    parser.add_argument("--quiet", action="store_true", help="print only what is beyond tolerance")
    arguments = parser.parse_args()
    found = [case for case in cases(arguments.folder) if arguments.only in case.path.stem]
    if not found:
        parser.error(f"there is no case in {str(arguments.folder)!r}; give a folder of .json files")
    failures = stages = 0
    for case in found:
        print(f"{case.path.stem} ({case.facts['kind']})", flush=True)
        worst, count = 0.0, 0
        for stage in check(case):
            count += 1
            failures += not stage.passed
            worst = max(worst, stage.deviation / stage.tolerance if stage.tolerance else 0.0)
            if not (arguments.quiet and stage.passed):
                mark = "" if stage.passed else "   <-- beyond tolerance"
                print(f"  {stage.name:34} {stage.deviation:10.3g}  of {stage.tolerance:.3g}{mark}")
        stages += count
        print(f"  {count} stages, at most {worst:.1%} of what is allowed", flush=True)
    print(f"{len(found)} cases, {stages} stages, {failures} beyond tolerance")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
