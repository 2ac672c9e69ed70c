"""Make the data set `shapes`: ``python scripts/make_shapes.py --root data/raw/shapes``.

Training makes it by itself; this is for looking at it, or for making it with another seed.
"""

import argparse
from pathlib import Path

from glip_pl.data.shapes import ShapesBuilder

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the data set shapes.")
    parser.add_argument("--root", type=Path, default=Path("data/raw/shapes"), help="folder to make")
    parser.add_argument("--seed", type=int, default=0, help="seed of all randomness")
    args = parser.parse_args()
    ShapesBuilder(seed=args.seed).build(args.root)
