"""Train an ordinary detector as `glip fit` trains a grounded one, and test it.

    python scripts/fcos.py --data bccd --seconds 1440 --output runs/fcos

It is torchvision's FCOS (arXiv 1904.01355) on the backbone of MODEL=small with an FPN of the same
width: the same pixels, data sets, transforms, learning rates and test, but class numbers for words.
"""

import argparse
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Trainer, seed_everything
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torchvision.models.detection import FCOS
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelP6P7

from glip_pl.backbones import EfficientNetLite0Backbone
from glip_pl.boxes import rescale
from glip_pl.configs.names import known
from glip_pl.configs.reading import read_yaml
from glip_pl.data.descriptors import read_descriptor
from glip_pl.inference.postprocess import PostProcess
from glip_pl.results import SaveResults
from glip_pl.structures import Batch, Detections, Question
from glip_pl.system.memory import keep_freed_memory
from glip_pl.text import BertEncoder
from glip_pl.training.budget import CoreSeconds
from glip_pl.training.evaluation import Evaluated
from glip_pl.training.optim import Cosine, OptimizerSettings, configured

SMALL: dict[str, Any] = read_yaml(Path(known("model")["small"]))["model"]
SETTINGS = OptimizerSettings(**SMALL["optimizer"])


def main() -> None:
    """Train for a budget of processor time, and test the last state."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="a detection set: a name or a YAML")
    parser.add_argument("--root", help="its folder, where it is not the YAML's")
    parser.add_argument("--seconds", type=float, required=True, help="of processor time, in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", default="32-true")
    parser.add_argument("--output", type=Path, default=Path("runs/fcos"))
    options = parser.parse_args()
    keep_freed_memory()
    seed_everything(options.seed)
    data = read_descriptor(options.data, root=options.root)
    data.connect(BertEncoder(pretrained="minilm").tokenizer, one_prompt=False)
    data.setup("fit")
    trainer = Trainer(
        accelerator="cpu",
        precision=options.precision,
        max_epochs=-1,
        gradient_clip_val=1.0,
        limit_val_batches=0,
        logger=CSVLogger(options.output.parent, name=None, version=options.output.name),
        callbacks=[CoreSeconds(options.seconds), SaveResults()],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    task = Peer(list(data.train[0].names_by_id))
    trainer.fit(task, datamodule=data)
    print(f"trained {trainer.global_step} steps")
    trainer.test(task, datamodule=data, verbose=False)


class Peer(Evaluated):
    """FCOS, as a Lightning module that learns from and is scored on the project's data sets.

    Args:
        category_ids: The ids of the categories that it learns.
    """

    def __init__(self, category_ids: list[int]) -> None:
        super().__init__()
        self.category_ids = category_ids
        self.detector = Peer.Found()  # type: ignore[assignment]
        pyramid = Pyramid(SMALL["d_model"])
        self.model = FCOS(
            pyramid,
            num_classes=len(category_ids),
            image_mean=pyramid.backbone.pixel_mean.flatten().tolist(),
            image_std=pyramid.backbone.pixel_std.flatten().tolist(),
            score_thresh=0.01,
            _skip_resize=True,
        )

    class Found:
        """What tests write down of how detections came about."""

        postprocess = PostProcess(score_threshold=0.01, nms_iou=0.6)

    def setup(self, stage: str) -> None:
        """Make the metrics of the test sets."""
        self.metrics.prepare("test", self._data.test)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Sum the three losses of FCOS."""
        targets = []
        for question, truth in zip(batch.questions, batch.known(), strict=True):
            classes = torch.tensor([self.category_ids.index(int(i)) for i in question.phrase_ids])
            boxes, shows = truth.boxes[~truth.crowd], truth.shows[~truth.crowd]
            targets.append({"boxes": boxes, "labels": classes[shows.int().argmax(1)]})
        losses: dict[str, Tensor] = self.model(_images(batch), targets)
        return torch.stack(list(losses.values())).sum()

    def predict_step(self, batch: Batch, batch_idx: int) -> list[Detections]:
        """Detect, and name categories by the phrases of the prompt."""
        found = self.model(_images(batch))
        pairs = zip(found, batch.questions, strict=True)
        return [self._named(of_image, question) for of_image, question in pairs]

    def _named(self, found: dict[str, Tensor], question: Question) -> Detections:
        ids = question.phrase_ids.tolist()
        phrases = [ids.index(self.category_ids[int(label)]) for label in found["labels"]]
        boxes = rescale(found["boxes"], question.size, question.original_size)
        return Detections(boxes, found["scores"], torch.tensor(phrases, dtype=torch.long))

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with the learning rates of MODEL=small."""
        groups: dict[str, list[nn.Parameter]] = {"backbone": [], "rest": []}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                part = "backbone" if name.startswith("backbone.backbone.") else "rest"
                groups[part].append(parameter)
        rates = {"backbone": SETTINGS.backbone_lr, "rest": SETTINGS.lr}
        listed: list[dict[str, Any]] = [
            {"params": own, "lr": rates[part], "name": part, "weight_decay": SETTINGS.weight_decay}
            for part, own in groups.items()
        ]
        return configured(listed, SETTINGS, Cosine(), self.trainer)


class Pyramid(nn.Module):
    """EfficientNet-Lite0 and a feature pyramid, as torchvision's detectors take them.

    Args:
        width: Channels of the pyramid.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out_channels = width
        self.backbone = EfficientNetLite0Backbone()
        extra = LastLevelP6P7(width, width)
        self.fpn = FeaturePyramidNetwork(list(self.backbone.channels), width, extra_blocks=extra)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Encode normalised images [B, 3, H, W] as maps, finest first."""
        maps = self.backbone(images.contiguous(memory_format=torch.channels_last))
        pyramid: dict[str, Tensor] = self.fpn(OrderedDict((str(i), x) for i, x in enumerate(maps)))
        return pyramid


def _images(batch: Batch) -> list[Tensor]:
    """Cut the padding off: the list of images, [3, H, W], that torchvision takes."""
    sizes = (question.size for question in batch.questions)
    pairs = zip(batch.images, sizes, strict=True)
    return [image[:, :height, :width].float() for image, (height, width) in pairs]


if __name__ == "__main__":
    main()
