"""Let captions teach, and see what it is worth: boxes for a part of the images, or for all.

    python scripts/compare_teaching.py --data bccd --fusion deep --seeds 0 1 2

Of a part of the training images the boxes are known; of the others a sentence that names what is
seen. Three models take the same number of steps from the same start: `part` knows the part alone,
`taught` the part and what `part` finds of the sentences (`glip label --captions`), `boxes` the true
boxes of all. The last states are tested. What is done is not done again, so that the command may
be killed and repeated. `glip compare` takes two of the folders that it prints.
"""

import argparse
import json
import random
import statistics
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from glip_pl.cli import main as glip

ROOT = Path(__file__).parent.parent
WAYS = ("part", "taught", "boxes")


def main() -> None:
    """Train, label, test, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="bccd", help="a detection set in COCO form")
    parser.add_argument("--model", default="small")
    parser.add_argument("--fusion", default="deep")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--share", type=float, default=0.2, help="of the images have boxes")
    parser.add_argument("--steps", type=int, default=200, help="of four images each")
    parser.add_argument("--short_side", type=int, default=416, help="of images, in pixels")
    parser.add_argument("--keep", type=float, default=0.5, help="least score of a box that teaches")
    parser.add_argument("--ignore", type=float, default=0.3, help="least score of one that may be")
    parser.add_argument("--precision", default="bf16-mixed")
    parser.add_argument("--output", type=Path, default=Path("runs/compare_teaching"))
    options = parser.parse_args()
    options.output = options.output.absolute()
    described = yaml.safe_load((ROOT / f"data/{options.data}.yaml").read_text())["data"]
    for seed in options.seeds:
        folder = options.output / f"seed{seed}"
        if not (folder / "captions.tsv").is_file():
            divide(described, folder, options.share, seed)
        for way in WAYS:
            if not result_of(folder, way):
                if way == "taught":
                    label(options, folder, ROOT / described["root"])
                train(options, folder, described, way, seed)
    Console().print(table(options))


def divide(described: dict[str, Any], folder: Path, share: float, seed: int) -> None:
    """Write the boxes of some images, and a sentence for each of the others."""
    root = ROOT / described["root"]
    whole = json.loads((root / described["train"][0]["init_args"]["annotations"]).read_text())
    images = sorted(whole["images"], key=lambda image: image["id"])
    random.Random(seed).shuffle(images)
    count = max(1, round(share * len(images)))
    names = {category["id"]: category["name"] for category in whole["categories"]}
    shown: dict[Any, set[int]] = {}
    for box in whole["annotations"]:
        shown.setdefault(box["image_id"], set()).add(box["category_id"])
    folder.mkdir(parents=True, exist_ok=True)
    known = {image["id"] for image in images[:count]}
    boxes = [box for box in whole["annotations"] if box["image_id"] in known]
    part = {**whole, "images": images[:count], "annotations": boxes}
    (folder / "part.json").write_text(json.dumps(part))
    lines = []
    for image in images[count:]:
        seen = [f"a {names[k]}" for k in sorted(shown.get(image["id"], ()))]
        path = str((root / "images" / image["file_name"]).absolute())
        lines.append(f"{path}\t{' and '.join(seen)}\n")
    (folder / "captions.tsv").write_text("".join(lines))


def label(options: argparse.Namespace, folder: Path, root: Path) -> None:
    """Let the model of the part teach what the sentences of the others name; judge its boxes."""
    glip(
        [
            "label",
            f"--images={folder / 'captions.tsv'}",
            "--captions",
            f"--weights={checkpoint_of(folder / 'part')}",
            f"--output={folder / 'labels'}",
            f"--truth={root / 'annotations/train.json'}",
            f"--keep={options.keep}",
            f"--ignore={options.ignore}",
            f"--short_side={options.short_side}",
            f"--max_side={2 * options.short_side}",
        ]
    )


def train(
    options: argparse.Namespace, folder: Path, described: dict[str, Any], way: str, seed: int
) -> None:
    """Train one model and test its last state."""
    (whole,) = described["train"]
    images = str((ROOT / described["root"] / "images").absolute())
    part = {**whole["init_args"], "annotations": str(folder / "part.json"), "images": images}
    sets = [whole] if way == "boxes" else [{**whole, "init_args": part}]
    if way == "taught":
        sets += yaml.safe_load((folder / "labels/data.yaml").read_text())["data"]["train"]
        sets[-1]["init_args"]["annotations"] = str(folder / "labels/lessons.jsonl")
    side = options.short_side
    data = {
        "train": sets,
        "train_transform": {"short_sides": [side], "max_side": 2 * side, "flip": 0.5},
        "eval_transform": {"short_sides": [side], "max_side": 2 * side},
    }
    override = folder / f"{way}.yaml"
    override.write_text(yaml.safe_dump({"data": data}, sort_keys=False))
    glip(
        [
            "fit",
            f"--model={options.model}",
            f"--data={options.data}",
            f"--fusion={options.fusion}",
            f"--config={override}",
            f"--data.root={ROOT / described['root']}",
            f"--seed_everything={seed}",
            "--data.batch_size=4",
            "--data.num_workers=0",
            f"--trainer.precision={options.precision}",
            "--trainer.max_epochs=-1",
            f"--trainer.max_steps={options.steps}",
            "--trainer.limit_val_batches=0",
            f"--trainer.logger.init_args.save_dir={folder}",
            f"--trainer.logger.init_args.name={way}",
        ]
    )
    glip(
        [
            "test",
            f"--ckpt_path={checkpoint_of(folder / way)}",
            f"--data={options.data}",
            f"--config={override}",
            f"--data.root={ROOT / described['root']}",
            f"--trainer.logger.init_args.save_dir={folder}",
            f"--trainer.logger.init_args.name={way}-test",
        ]
    )


def checkpoint_of(way: Path) -> Path:
    """Find the last state of a training."""
    return next(iter(sorted(way.glob("*/checkpoints/last.ckpt"))))


def result_of(folder: Path, way: str) -> Path | None:
    """Find the figures of a model that was tested."""
    return next(iter(sorted(folder.glob(f"{way}-test/*/results.json"))), None)


def table(options: argparse.Namespace) -> Table:
    """AP on the test split, by seed and on average."""
    shown = Table(title=f"{options.data}, {options.fusion}, {options.steps} steps: AP in per cent")
    for column in ("knows", *(f"seed {seed}" for seed in options.seeds), "mean"):
        shown.add_column(column)
    for way in WAYS:
        found = []
        for seed in options.seeds:
            result = result_of(options.output / f"seed{seed}", way)
            metrics = json.loads(result.read_text())["metrics"] if result else {}
            name = f"test/{options.data}/map"
            found += [100 * metrics[name]] if name in metrics else []
        mean = f"{statistics.mean(found):.1f}" if found else ""
        shown.add_row(way, *(f"{value:.1f}" for value in found), mean)
    return shown


if __name__ == "__main__":
    main()
