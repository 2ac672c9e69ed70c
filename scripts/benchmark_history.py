"""The history of the benchmark: a picture of what was kept, and whether a commit is slower.

::

    python scripts/benchmark_history.py draw  # all of docs/benchmarks, as history.svg
    python scripts/benchmark_history.py compare main HEAD --model=tiny --size=128x128

`compare` runs ``glip benchmark`` of both commits by turns, with the options that follow, and exits
with 1 where the second is slower beyond the bound and beyond noise.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from html import escape
from pathlib import Path

from benchmarks.kept import KEPT, Kept, lines, read_kept

ROOT = KEPT.parents[1]
WIDTH, HEIGHT, MARGIN = 640, 120, 40


def picture(kept: Sequence[Kept]) -> str:
    """Draw every line of the history, seconds over commits, as SVG."""
    history = lines(kept)
    charts = [_chart(*entry, k * HEIGHT) for k, entry in enumerate(history.items())]
    size = f'width="{WIDTH}" height="{HEIGHT * len(history)}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">\n'
        + "\n".join(charts)
        + "\n</svg>\n"
    )


def _chart(what: tuple[str, str], runs: Sequence[Kept], top: int) -> str:
    """Draw one line, from zero up to its slowest run."""
    most, step = max(run.seconds for run in runs), (WIDTH - 2 * MARGIN) / max(len(runs) - 1, 1)
    bottom, height = top + HEIGHT - 20, HEIGHT - 50
    points = [
        (MARGIN + k * step, bottom - height * run.seconds / most) for k, run in enumerate(runs)
    ]
    drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    marks = [
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{escape(run.commit or run.date)}: '
        f"{1000 * run.seconds:,.0f} ms</title></circle>"
        for (x, y), run in zip(points, runs, strict=True)
    ]
    return "\n".join(
        [
            f'<text x="{MARGIN}" y="{top + 14}">{escape(", ".join(what))}: '
            f"{1000 * runs[-1].seconds:,.0f} ms</text>",
            f'<polyline fill="none" stroke="#36c" points="{drawn}"/>',
            *marks,
        ]
    )


def verdict(pairs: Sequence[tuple[float, float]], bound: float) -> tuple[float, bool]:
    """Judge paired runs of two commits, in seconds.

    Returns:
        How many times as long the second takes, the median of the pairs, and whether it is slower:
        by more than the bound, and in three quarters of the pairs at all.
    """
    ratios = sorted(second / first for first, second in pairs)
    median = statistics.median(ratios)
    slower = sum(ratio > 1 for ratio in ratios)
    return median, median > bound and slower >= 0.75 * len(ratios)


def compare(first: str, second: str, options: Sequence[str], count: int, bound: float) -> int:
    """Run two commits by turns; return the status."""
    with tempfile.TemporaryDirectory() as name:
        trees = [Path(name) / side for side in ("first", "second")]
        try:
            for tree, commit in zip(trees, (first, second), strict=True):
                _git("worktree", "add", "--detach", "--quiet", str(tree), commit)
            pairs = []
            for _ in range(count):
                pairs.append((_seconds(trees[0], options), _seconds(trees[1], options)))
                print("  {:.3f} s   {:.3f} s".format(*pairs[-1]), flush=True)
        finally:
            for tree in trees:
                _git("worktree", "remove", "--force", str(tree), check=False)
    ratio, slower = verdict(pairs, bound)
    print(f"{second} takes {ratio:.3f} times as long as {first}, the median of {count} pairs")
    return int(slower)


def _git(*arguments: str, check: bool = True) -> None:
    subprocess.run(["git", "-C", str(ROOT), *arguments], check=check, capture_output=not check)


def _seconds(tree: Path, options: Sequence[str]) -> float:
    """Run the benchmark of a tree in a process of its own."""
    file = tree / "found.json"
    path = os.pathsep.join([str(tree / "src"), str(tree)])
    run = [sys.executable, "-m", "glip_pl", "benchmark", *options, f"--json_file={file}"]
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(run, cwd=tree, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"glip benchmark {' '.join(options)} failed:\n{done.stderr}")
    return float(json.loads(file.read_text())["ours"]["seconds"]["total"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; the status of `compare` is 1 where the second commit is slower."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    kinds = parser.add_subparsers(dest="what", required=True)
    draw = kinds.add_parser("draw", help="draw what was kept")
    draw.add_argument("--folder", type=Path, default=KEPT)
    pair = kinds.add_parser("compare", help="run two commits by turns")
    pair.add_argument("first")
    pair.add_argument("second")
    pair.add_argument("--pairs", type=int, default=5)
    pair.add_argument("--bound", type=float, default=1.05, help="times as long as the first")
    args, options = parser.parse_known_args(arguments)
    if args.what == "compare":
        return compare(args.first, args.second, options, args.pairs, args.bound)
    kept = read_kept(args.folder)
    if options or not kept:
        parser.error(
            f"there is no report in {args.folder}; keep one by --json_file"
            if not options
            else f"unknown: {' '.join(options)}"
        )
    file = args.folder / "history.svg"
    file.write_text(picture(kept))
    print(f"wrote {file}: {len(kept)} runs, {len(lines(kept))} lines")
    return 0


if __name__ == "__main__":
    sys.exit(main())
