"""A run of two steps of a one-layer model on the small `shapes` data set."""

from pathlib import Path

from helpers import ROOT


def arguments_for(shapes_root: Path, folder: Path) -> list[str]:
    """Return options of `glip fit`, which writes to `folder`/runs/run."""
    return [
        f"--config={ROOT}/src/glip_pl/configs/base.yaml",
        f"--config={ROOT}/src/glip_pl/configs/model/tiny.yaml",
        f"--config={ROOT}/data/shapes.yaml",
        f"--data.root={shapes_root}",
        "--data.builder=null",
        "--data.batch_size=4",
        "--data.num_workers=0",
        "--model.num_layers=1",
        f"--trainer.logger.init_args.save_dir={folder}/runs",
        "--trainer.logger.init_args.name=run",
        "--trainer.max_epochs=1",
        "--trainer.log_every_n_steps=1",
    ]
