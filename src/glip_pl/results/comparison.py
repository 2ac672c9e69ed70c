"""Two test runs compared: whether one is better, or luck with the images.

Scores can be compared only when they mean the same: the same images and truth, the same prompts,
the same limits. So the manifests are held against each other first.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from glip_pl.results.judge import Judgement, Score, judge
from glip_pl.results.predictions import read_predictions
from glip_pl.results.run_files import Run
from glip_pl.results.save import RESULTS
from glip_pl.results.verdict import differences, print_runs, print_set
from glip_pl.system.download import file_sha256


def compare_runs(
    first: str,
    second: str,
    *,
    anyway: bool = False,
    samples: int = 1000,
    seed: int = 0,
    json_file: Path | None = None,
) -> dict[str, Judgement]:
    """Compare two test runs, set by set, and print what of their difference is beyond noise.

    Args:
        first: Folder of a test run, or its ``results.json``.
        second: The same of the other run.
        anyway: Whether to go on when the protocols differ.
        samples: How often the test images are drawn with replacement.
        seed: Fixes the draws.
        json_file: Where to write the figures, too.

    Raises:
        ValueError: A run cannot be read, they have no test set in common, or their protocols
            differ.
    """
    if samples < 2:
        raise ValueError(f"--samples={samples} gives no interval; draw 2 or more, or leave it out")
    paths = [_results_file(Path(given)) for given in (first, second)]
    runs = [_read_results(path) for path in paths]
    manifests = [run["manifest"]["sets"] for run in runs]
    names = [name for name in manifests[0] if name in manifests[1]]
    if not names:
        raise ValueError(
            f"{first!r} tested {', '.join(manifests[0])}, but {second!r} "
            f"{', '.join(manifests[1])}; compare runs with a test set in common"
        )
    unlike = _unlike(names, manifests, anyway=anyway)
    predictions = [_checked_predictions(path, run) for path, run in zip(paths, runs, strict=True)]
    console = Console()
    print_runs(console, paths, runs, unlike)
    judgements = {}
    for name in names:
        of_set = [
            Run(sets[name], lists[name], _metrics(run, name))
            for sets, lists, run in zip(manifests, predictions, runs, strict=True)
        ]
        judgements[name] = judge(of_set[0], of_set[1], samples=samples, seed=seed)
        print_set(console, name, judgements[name], of_set, samples=samples)
    if json_file is not None:
        head = {"first": str(paths[0]), "second": str(paths[1]), "samples": samples, "seed": seed}
        sets = {name: _record(judgement) for name, judgement in judgements.items()}
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps({**head, "unlike": unlike, "sets": sets}, indent=2) + "\n")
    return judgements


def _unlike(
    names: Sequence[str], manifests: Sequence[Mapping[str, Any]], *, anyway: bool
) -> list[str]:
    """Return how the tests of two runs differ; refuse it, unless asked to go on anyway."""
    unlike = [
        f"{name}: {line}"
        for name in names
        for line in differences(manifests[0][name], manifests[1][name])
    ]
    if unlike and not anyway:
        listed = "\n  ".join(unlike)
        raise ValueError(
            f"these runs were not tested alike, so their scores mean different things:\n  {listed}"
            "\ntest one of them again like the other, or pass --anyway"
        )
    return unlike


def _results_file(given: Path) -> Path:
    """Find the results of a run: the file, its folder, or the folder above the only version."""
    if given.is_file():
        return given
    if (given / RESULTS).is_file():
        return given / RESULTS
    below = sorted(given.glob(f"*/{RESULTS}"))
    if len(below) == 1:
        return below[0]
    what = "several runs" if below else f"no {RESULTS}"
    choice = ", ".join(str(path.parent) for path in below)
    raise ValueError(
        f"{str(given)!r} holds {what}; pass the folder of one test run"
        + (f": {choice}" if below else ", for example runs/test-shapes/version_0")
    )


def _read_results(path: Path) -> dict[str, Any]:
    try:
        results: dict[str, Any] = json.loads(path.read_bytes())
        if isinstance(results["manifest"]["sets"], dict):
            return results
    except (ValueError, KeyError, TypeError):
        pass
    raise ValueError(
        f"{str(path)!r} has no manifest, which says how the scores came about; run `glip test` "
        "again with this version"
    )


def _checked_predictions(path: Path, results: Mapping[str, Any]) -> dict[str, Any]:
    described = results["predictions"]
    file = path.parent / described["file"]
    predictions = read_predictions(file)
    if file_sha256(file) != described["sha256"]:
        raise ValueError(
            f"{str(file)!r} is not the file that {str(path)!r} was written with; run `glip test` "
            "again"
        )
    return predictions


def _metrics(results: Mapping[str, Any], name: str) -> dict[str, float | None]:
    prefix = f"test/{name}/"
    return {
        key.removeprefix(prefix): value
        for key, value in results["metrics"].items()
        if key.startswith(prefix)
    }


def _record(judgement: Judgement) -> dict[str, Any]:
    def of(score: Score) -> dict[str, Any]:
        derived = {"difference": score.difference, "beyond_noise": score.beyond_noise}
        return {**asdict(score), **derived}

    return {
        "metric": judgement.metric,
        "images": judgement.num_images,
        "scores": [of(score) for score in judgement.scores],
        "classes": [of(score) for score in judgement.classes],
    }
