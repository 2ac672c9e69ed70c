"""Labelling by actors of Ray, on this machine."""

import sys

import pytest
from helpers import write_image
from models import random_weights, write_checkpoint

from glip_pl.inference.options import Options
from glip_pl.labelling.on_ray import label_on_ray, open_engine
from glip_pl.labelling.sources import shards_of

PROMPT = "red circle. blue square."


@pytest.mark.slow
def test_ray_writes_the_files_of_the_engine_and_does_nothing_twice(tmp_path):
    ray = pytest.importorskip("ray")
    weights = str(write_checkpoint(tmp_path / "best.ckpt", random_weights()))
    for k in range(5):
        write_image(tmp_path / f"photos/{k}.png", 40, 60, seed=k)
    images, options = [str(tmp_path / "photos")], Options(threshold=0.5)
    engine = open_engine(weights, PROMPT, tmp_path / "alone", options, "cpu", None)
    engine.run(shards_of(images, 2))
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)

    try:
        first, second = (
            label_on_ray(
                *(images, PROMPT),
                weights=weights,
                output=tmp_path / "ray",
                shard_size=2,
                options=options,
            )
            for _ in range(2)
        )
    finally:
        ray.shutdown()

    assert [row["images"] for row in first] == [2, 2, 1]
    assert [row["images"] for row in second] == [0, 0, 0]
    alone, spread = (sorted((tmp_path / name / "shards").iterdir()) for name in ("alone", "ray"))
    assert [path.read_bytes() for path in spread] == [path.read_bytes() for path in alone]


def test_a_missing_ray_is_told_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)

    with pytest.raises(ValueError, match=r"pip install \"glip-pl\[ray\]\""):
        label_on_ray(["."], PROMPT, weights="x", output="y")
