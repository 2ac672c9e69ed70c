"""Compare this project with values that official GLIP computed, or with transformers.

    python scripts/check_parity.py FOLDER
    python scripts/check_parity.py --family all

Every case of the folder is checked (what a case is, says `parity`), the largest deviation of each
stage is printed beside what is allowed, and the exit status is 1 if any is beyond that. A family is
that of Grounding DINO: small models of random weights, which transformers computes, too.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from parity import CHECKS
from parity.case import Case, Stage
from parity.dino import check_family
from parity.dino_oracle import FAMILIES


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


def wanted(folder: Path | None, family: str | None, only: str) -> dict[str, Iterator[Stage]]:
    """Return the stages of all that is to be checked, by what is printed above them."""
    if folder is None:
        chosen = FAMILIES if family == "all" else [family]
        return {f"{name} (transformers)": check_family(name) for name in chosen if name}
    return {
        f"{case.path.stem} ({case.facts['kind']})": check(case)
        for case in cases(folder)
        if only in case.path.stem
    }


def main() -> int:
    """Check a folder and print what was found; give the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", help="folder of reference values")
    parser.add_argument("--family", choices=[*FAMILIES, "all"], help="compare with transformers")
    parser.add_argument("--only", default="", help="check only the cases with this in their name")
    parser.add_argument("--quiet", action="store_true", help="print only what is beyond tolerance")
    arguments = parser.parse_args()
    if (arguments.folder is None) == (arguments.family is None):
        parser.error("give a folder of reference values, or --family")
    found = wanted(arguments.folder, arguments.family, arguments.only)
    if not found:
        parser.error(f"there is no case in {str(arguments.folder)!r}; give a folder of .json files")
    failures = stages = 0
    for title, checked in found.items():
        print(title, flush=True)
        worst, count = 0.0, 0
        for stage in checked:
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
