"""The baseline of the Grounding DINO family: the same weights, as transformers runs them."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GroundingDinoForObjectDetection, MMGroundingDinoForObjectDetection
from transformers.utils import logging

from glip_pl.benchmark.workload import Result, Workload
from glip_pl.boxes import to_cxcywh, to_xyxy
from glip_pl.training.task import GroundingTask
from glip_pl.weights.transformers_form.folder import write_transformers

_CLASSES: dict[str, Any] = {
    "grounding-dino": GroundingDinoForObjectDetection,
    "mm-grounding-dino": MMGroundingDinoForObjectDetection,
}


def in_transformers(task: GroundingTask, described: Mapping[str, Any]) -> nn.Module:
    """Build the model of a task in transformers, with a copy of its weights.

    Args:
        task: In fp32.
        described: Its description; see `glip_pl.weights.network`.

    Raises:
        ValueError: It is none of the family.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "model"
        family = write_transformers(task.model, described, folder).family
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        model: nn.Module = _CLASSES[family].from_pretrained(folder, auxiliary_loss=True)
    return model.to(task.device).eval()


class Oracle:
    """A model of transformers on the batch of a workload: its first prompt stands for all."""

    def __init__(self, model: nn.Module, ours: Workload, *, train: bool) -> None:
        self.model, self.train = model.train(train), train
        batch, self.prompts = ours.batch, ours.prompts
        tokens = batch.tokens.select(slice(0, batch.chunk_sizes[0]))
        # Neither reading pixels nor post-processing is counted.
        self.inputs: dict[str, Any] = {
            "pixel_values": ours.model.backbone.normalise(batch.images, batch.mask),
            "pixel_mask": batch.mask.long(),
            "input_ids": tokens.ids,
            "attention_mask": tokens.mask.long(),
        }
        self.extents = torch.tensor(
            [[q.size[1], q.size[0]] * 2 for q in batch.questions], device=batch.images.device
        )[:, None]
        if train:
            self.inputs["labels"] = [
                {
                    "class_labels": truth.shows.int().argmax(1),
                    "boxes": to_cxcywh(truth.boxes) / extent,
                }
                for truth, extent in zip(batch.known(), self.extents, strict=True)
            ]

    def run(self) -> None:
        """Detect, or take a training step, whose optimizer learns nothing."""
        if not self.train:
            with torch.no_grad():
                self.model(**self.inputs)
            return
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.0, fused=True)
        self.model(**self.inputs).loss.backward()
        optimizer.step()
        self.model.zero_grad(set_to_none=True)

    @torch.no_grad()
    def result(self) -> tuple[Result, Tensor]:
        """Return logits and boxes of the first prompt, and the cells that became queries [B, Q].

        Raises:
            ValueError: The images have fewer cells than the model has queries.
        """
        queries = len(self.model.get_parameter("model.query_position_embeddings.weight"))
        try:
            said = self.model(**self.inputs)
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                f"transformers needs images of {queries} cells or more ({error}); give a larger "
                "--size"
            ) from error
        chosen = said.enc_outputs_class.amax(-1).topk(queries).indices
        length = self.inputs["input_ids"].shape[1]
        boxes = to_xyxy(said.pred_boxes) * self.extents
        return Result(said.logits[..., :length], boxes, None), chosen
