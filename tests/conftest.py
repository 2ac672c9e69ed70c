import os
from pathlib import Path

import pytest

from glip_pl.data.shapes import ShapesBuilder

os.environ["TOKENIZERS_PARALLELISM"] = "false"
ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def own_arguments(monkeypatch):
    """Hide pytest's own arguments from the command line under test."""
    monkeypatch.setattr("sys.argv", ["glip"])


@pytest.fixture(scope="session")
def shapes_root(tmp_path_factory):
    """A small `shapes` data set."""
    root = tmp_path_factory.mktemp("data") / "shapes"
    ShapesBuilder(num_train=8, num_val=4, num_test=4).build(root)
    return root


@pytest.fixture
def shapes_arguments(shapes_root, tmp_path):
    """Options of `glip fit` for two steps of a one-layer model on that set."""
    return [
        f"--config={ROOT}/src/glip_pl/configs/base.yaml",
        f"--config={ROOT}/src/glip_pl/configs/tiny.yaml",
        f"--config={ROOT}/data/shapes.yaml",
        f"--data.root={shapes_root}",
        "--data.builder=null",
        "--data.batch_size=4",
        "--data.num_workers=0",
        "--model.num_layers=1",
        f"--trainer.logger.init_args.save_dir={tmp_path}/runs",
        "--trainer.logger.init_args.name=run",
        "--trainer.max_epochs=1",
        "--trainer.log_every_n_steps=1",
    ]
