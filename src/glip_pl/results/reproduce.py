"""A published checkpoint, tested as it was published: what is measured beside what is stated."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from glip_pl.configs.names import data_folder
from glip_pl.system.fetch import fetch, read_source
from glip_pl.weights.published import PUBLISHED
from glip_pl.weights.transformers_form.published import PUBLISHED_DINO

Benchmark = Literal["coco", "lvis"]


@dataclass(frozen=True)
class Protocol:
    """How a figure is measured.

    Attributes:
        title: What it is called in papers.
        score: Where results.json has it.
        needs: The files below the root of the data that it takes, of all that the set has.
        options: Of ``glip test``.
    """

    title: str
    score: str
    needs: tuple[str, ...]
    options: tuple[str, ...] = ()


PROTOCOLS: dict[Benchmark, Protocol] = {
    "coco": Protocol(
        "COCO val2017, zero-shot AP",
        "test/coco/map",
        ("annotations/instances_val2017.json", "val2017"),
    ),
    "lvis": Protocol(
        "LVIS minival, zero-shot fixed AP",
        "test/minival/map",
        ("annotations/lvis_v1_minival_inserted_image_name.json", "val2017"),
        ("--model.postprocess.max_detections=300",),
    ),
}


def stated(name: str, data: Benchmark) -> float:
    """Return what the authors of a checkpoint state, in percent.

    Raises:
        ValueError: No checkpoint has this name, or nothing is stated.
    """
    figures: dict[str, dict[str, float | None]] = {
        **{n: {"coco": p.coco_ap} for n, p in PUBLISHED.items()},
        **{n: {"coco": p.coco_ap, "lvis": p.lvis_ap} for n, p in PUBLISHED_DINO.items()},
    }
    if name not in figures:
        raise ValueError(f"{name!r} is not published; choose one of {', '.join(figures)}")
    if (figure := figures[name].get(data)) is not None:
        return figure
    known = [d for d, value in figures[name].items() if value is not None]
    hint = f"pass --data={known[0]}" if known else "test it by glip test"
    raise ValueError(f"no figure of {name} on {PROTOCOLS[data].title} is known here; {hint}")


def fetch_data(data: Benchmark, root: Path | None, console: Console) -> Path:
    """Fetch what a protocol needs, as far as the network allows, and return the folder.

    Raises:
        ValueError: Something is missing that a person must bring.
    """
    source = read_source(data, data_folder() / "sources")
    needs = PROTOCOLS[data].needs
    folder = Path(root or source.root)
    files = tuple(remote for remote in source.files if remote.gives in needs)
    missing = fetch(replace(source, needs=needs, files=files), folder, console)
    if missing:
        raise ValueError(
            f"{str(folder)!r} lacks {', '.join(missing)}; do what is listed above, or name the "
            "folder that has them by --root"
        )
    return folder


def reproduce_figure(
    name: str,
    data: Benchmark,
    *,
    weights: str | None,
    root: Path | None,
    output: Path,
    options: Sequence[str],
) -> dict[str, Any]:
    """Test a published checkpoint by the published protocol.

    Args:
        name: Of the checkpoint.
        data: The benchmark.
        weights: A file or folder that was brought by hand; fetched where None.
        root: Folder of the data, where it is another than their YAML says.
        output: Folder for results.json and what else ``glip test`` writes.
        options: More of ``glip test``.

    Returns:
        What is stated and measured, in percent, and by which command.

    Raises:
        ValueError: There is no such figure, something cannot be fetched, or the test failed.
    """
    published, protocol = stated(name, data), PROTOCOLS[data]
    folder = fetch_data(data, root, Console())
    command = [
        "test",
        f"--data={data}",
        f"--data.root={folder}",
        f"--weights={weights or name}",
        f"--trainer.logger.init_args.save_dir={output}",
        f"--trainer.logger.init_args.name={name}",
        f"--trainer.logger.init_args.version={data}",
        *protocol.options,
        *options,
    ]
    results = output / name / data / "results.json"
    results.unlink(missing_ok=True)
    done = subprocess.run([sys.executable, "-m", "glip_pl", *command], check=False)
    if done.returncode or not results.is_file():
        raise ValueError(f"{name} could not be tested, see above; mend that, and type it again")
    score = json.loads(results.read_text())["metrics"][protocol.score]
    if score is None:
        raise ValueError(f"{str(folder)!r} has no true box, so that nothing can be measured")
    record = {
        "name": name,
        "benchmark": protocol.title,
        "published": published,
        "measured": round(100 * score, 2),
        "difference": round(100 * score - published, 2),
        "weights": weights or name,
        "command": ["glip", *command],
        "results": str(results),
    }
    (results.parent / "reproduce.json").write_text(json.dumps(record, indent=1) + "\n")
    return record
