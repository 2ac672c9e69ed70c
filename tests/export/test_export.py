from functools import partial

import numpy as np
import pytest
import torch

from fusion_plugins.deep import DeepFusion
from fusion_plugins.late import LateFusion
from fusion_plugins.query import QueryFusion
from glip_pl.backbones import FPN, SwinBackbone, TinyBackbone
from glip_pl.commands.export import export
from glip_pl.data import Pipeline
from glip_pl.data.collate import collate
from glip_pl.export.folder import ExportSettings, export_folder
from glip_pl.inference.detector import Detector
from glip_pl.inference.postprocess import PostProcess
from glip_pl.model import GLIP
from glip_pl.prompts import PromptTemplate
from glip_pl.runtime import Runtime
from glip_pl.structures import Sample
from glip_pl.text import ClassEmbedding, TinyBert

NAMES = ["red circle", "blue square", "cat"]


def small_model(fusion, text=None, backbone=None):
    torch.manual_seed(0)
    text = text or TinyBert(d_text=64, num_layers=1)
    plugin = fusion(d_model=32, d_text=text.d_text, num_layers=1)
    backbone = backbone or TinyBackbone(16)
    return GLIP(backbone, text, fusion=plugin, d_model=32, neck=partial(FPN, extra_levels=1)).eval()


def detect(model, image):
    """Detect with PyTorch what the runtime is asked for."""
    pipeline = Pipeline(short_sides=[64], max_side=128)
    sample = Sample(image, PromptTemplate().join(NAMES), torch.full((3,), -1), image.shape[:2])
    batch = collate([pipeline(sample)], model.text.tokenizer)
    (found,) = Detector(model, PostProcess(score_threshold=0.0))(batch)
    return found


SWIN = partial(SwinBackbone, 16, (1, 1, 2, 1), num_heads=(1, 1, 2, 2), window=4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fusion", "backbone"),
    [
        (LateFusion, partial(TinyBackbone, 16)),
        (QueryFusion, partial(TinyBackbone, 16)),
        (DeepFusion, SWIN),
    ],
)
def test_an_exported_model_finds_what_the_model_finds(fusion, backbone, tmp_path):
    model = small_model(fusion, backbone=backbone())
    settings = ExportSettings(64, 128)

    measured = export_folder(model, tmp_path / "out", settings)

    assert measured.differences["logits"] < 1e-4  # Over a temperature of 0.1, logits reach ten.
    runtime = Runtime(tmp_path / "out", threads=1)
    image = np.random.default_rng(0).integers(0, 256, (100, 150, 3), dtype=np.uint8)
    found = runtime.predict(image, runtime.vocabulary(NAMES, threshold=0.0), best_only=False)
    wanted = detect(model, image)
    assert np.allclose(found.scores, wanted.scores.numpy(), atol=1e-4)
    assert np.allclose(found.boxes[:10], wanted.boxes[:10].numpy(), atol=1e-2)
    assert found.labels[:10].tolist() == wanted.phrases[:10].tolist()
    check_packs(runtime, image, tmp_path)


def check_packs(runtime, image, folder):
    """A pack finds what its prompt finds, and one of another encoder is refused."""
    pack = runtime.vocabulary(NAMES, threshold=0.0)
    pack.save(folder / "pack.npz")
    loaded = type(pack).load(folder / "pack.npz")
    assert np.array_equal(runtime.predict(image, loaded).boxes, runtime.predict(image, pack).boxes)
    foreign = type(pack)(pack.names, pack.thresholds, pack.chunks, "another")
    with pytest.raises(ValueError, match="encoded by another model"):
        runtime.predict(image, foreign)


def test_a_closed_set_is_refused(tmp_path):
    model = small_model(LateFusion, ClassEmbedding(["cat"], d_text=64))

    with pytest.raises(ValueError, match="closed list of names"):
        export_folder(model, tmp_path / "out", ExportSettings(64, 128))


def test_a_folder_that_exists_is_left_alone(tmp_path):
    with pytest.raises(ValueError, match="exists already"):
        export_folder(small_model(LateFusion), tmp_path, ExportSettings(64, 128))


def test_a_missing_format_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no format 'coreml'"):
        export("best.ckpt", tmp_path, format="coreml")
