"""What a first detection imports: little beside PyTorch, whose own import takes seconds."""

import subprocess
import sys

import pytest
from helpers import write_image
from models import random_weights, write_checkpoint

SLOW = ("torch._dynamo", "sympy", "torchvision", "transformers", "pytorch_lightning", "scipy")
SLOW += ("torchmetrics", "albumentations")
OF_FILES = ("huggingface_hub", "rich", "webdataset", "pycocotools", "jsonargparse")


@pytest.mark.parametrize("fusion", ["late.LateFusion", "deep.DeepFusion"])
def test_a_first_detection_imports_nothing_slow(fusion, tmp_path):
    checkpoint = write_checkpoint(tmp_path / "best.ckpt", random_weights(fusion))
    write_image(tmp_path / "a.jpg", 64, 64)
    program = (
        "import sys, glip_pl\nfrom glip_pl.cli import main\nweights, image, output = sys.argv[1:]\n"
        "glip_pl.load(weights).predict(image, 'cat. dog.')\n"
        f"slow = [name for name in {SLOW + OF_FILES} if name in sys.modules]\n"
        "main(['predict', f'--weights={weights}', f'--image={image}', '--prompt=cat. dog.', "
        "f'--output={output}'])\n"
        f"print(slow, [name for name in {SLOW} if name in sys.modules])"
    )
    arguments = [checkpoint, tmp_path / "a.jpg", tmp_path / "out"]

    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True
    )

    assert done.stdout.splitlines()[-1:] == ["[] []"], done.stderr
