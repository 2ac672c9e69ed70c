"""Labelling on a cluster that runs Ray: shards as its data set, and a model in every actor.

The files are those of `glip label`: `torchrun` and SLURM need no Ray, and where Ray runs already,
this hands it the shards. Every machine must see images, weights and output at the same paths.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from glip_pl.inference.options import Options
from glip_pl.inference.predictor import load
from glip_pl.labelling.engine import Engine
from glip_pl.labelling.sources import shards_of
from glip_pl.labelling.tasks import NamedBoxes


class ShardLabeller:
    """What an actor holds: an engine with its model.

    Args:
        open_engine: Opens it; called in the actor.
        images: What is labelled, as `shards_of` takes it.
        shard_size: Images of a shard.
    """

    def __init__(self, open_engine: Any, images: Sequence[str], shard_size: int) -> None:
        self._engine: Engine = open_engine()
        self._shards = shards_of(images, shard_size)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Label the shards of a batch of rows {"id": number}, or leave those that are done."""
        done = [(self._shards[k], self._engine.run([self._shards[k]])) for k in batch["id"]]
        return {
            "shard": [str(self._engine.path_of(shard)) for shard, _ in done],
            "images": [progress.done for _, progress in done],
            "failed": [len(progress.failures) for _, progress in done],
        }


def open_engine(
    weights: str, prompt: str, output: Path, options: Options, device: str, batch_size: int | None
) -> Engine:
    """Open a model to label with; it reads images in its own process."""
    model = load(weights, device=device)
    task = NamedBoxes(model, model.compile(prompt, False))
    return Engine(model, task, options, output, batch_size=batch_size, num_workers=0)


def label_on_ray(
    images: Sequence[str],
    prompt: str,
    *,
    weights: str,
    output: str | Path,
    actors: int = 1,
    gpus: float = 0,
    shard_size: int = 1000,
    batch_size: int | None = None,
    options: Options | None = None,
) -> list[dict[str, Any]]:
    """Label images by actors of Ray, each with a model, and return a row per shard.

    Called again, it does what is left; `glip label` with the same options writes other formats.

    Args:
        images: As for `glip label`.
        prompt: Names with dots between, "cat. dog.".
        weights: As for `glip_pl.load`.
        output: Folder of the results.
        actors: How many label at a time.
        gpus: GPUs of each; 0 computes on a core.
        shard_size: Images of a shard.
        batch_size: Images at a time; None takes more of small ones.
        options: What `predict` takes one by one.

    Raises:
        ValueError: Ray is not installed, or there is nothing to label.
    """
    try:
        import ray.data
    except ImportError as error:
        raise ValueError('Ray is not installed; run: pip install "glip-pl[ray]"') from error
    device = "cuda" if gpus else "cpu"
    chosen = options or Options()
    opened = partial(
        open_engine, weights, prompt, Path(output).absolute(), chosen, device, batch_size
    )
    shards = ray.data.range(len(shards_of(images, shard_size)))
    labelled = shards.map_batches(
        ShardLabeller,
        fn_constructor_args=(opened, list(images), shard_size),
        batch_size=1,
        num_gpus=gpus,
        compute=ray.data.ActorPoolStrategy(size=actors),
    )
    rows: list[dict[str, Any]] = labelled.take_all()
    return sorted(rows, key=lambda row: row["shard"])
