"""The sizes and times of docs/howto/choose_a_checkpoint.md, as rows of a table.

Published models are built with random weights: parameters and file sizes are counted, and with
``--time`` each is timed on an image of 800x1333 with four names, here::

    python scripts/checkpoint_table.py
    python scripts/checkpoint_table.py --time --models glip_t grounding_dino_t
"""

import argparse

import torch

from glip_pl.benchmark import run
from glip_pl.benchmark.published import ARCHITECTURES, describe, random_task
from glip_pl.benchmark.vocabulary import names_to_detect
from glip_pl.system.machine import choose_device, device_name, matrix_units

HEAD = "| name | parameters | file | seconds an image |\n| --- | --- | --- | --- |"


def sizes(model: str) -> tuple[int, int]:
    """Return the parameters of a model and the bytes of its weights in a file."""
    with torch.device("meta"):
        network = random_task(describe(model)).model
    held = network.state_dict().values()
    return sum(p.numel() for p in network.parameters()), sum(x.nbytes for x in held)


def seconds(model: str, device: torch.device, repeats: int) -> float:
    """Time a model on one image, the fastest of some runs."""
    asked = run.Asked(
        model=model,
        names=names_to_detect(4),
        size=(800, 1333),
        batch_size=1,
        precision="fp32",
        train=False,
        compiled=False,
        repeats=repeats,
    )
    found = run.time_model(random_task(describe(model)).to(device), asked)
    return found.ours.seconds["total"]


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--time", action="store_true", help="also time each model")
    parser.add_argument("--models", nargs="+", choices=list(ARCHITECTURES), metavar="NAME")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs, the fastest counts")
    args = parser.parse_args()
    device = choose_device(args.device)
    print(f"{device_name(device)}, {matrix_units(device)}, torch {torch.__version__}\n")
    print(HEAD)
    for model in args.models or ARCHITECTURES:
        parameters, size = sizes(model)
        told = f"{seconds(model, device, args.repeats):.2f}" if args.time else ""
        print(
            f"| `{model}` | {parameters / 1e6:.0f} M | {size / 1e9:.2f} GB | {told} |", flush=True
        )


if __name__ == "__main__":
    main()
