"""Callbacks: pictures of validation images, learning rates, and a schedule of weight decay."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import (
    CSVLogger,
    Logger,
    MLFlowLogger,
    TensorBoardLogger,
    WandbLogger,
)
from pytorch_lightning.utilities.model_helpers import is_overridden

from glip_pl.boxes import rescale
from glip_pl.inference.visualize import draw, side_by_side
from glip_pl.structures import Batch, Detections
from glip_pl.training.optim import Schedule


def last_of_each(callbacks: Sequence[Callback]) -> list[Callback]:
    """Leave out what is named again with other options, as the last checkpoint may be.

    Args:
        callbacks: Those of base.yaml, followed by those of recipes and options.

    Returns:
        Of those whose state has one place in a checkpoint, which Lightning refuses, the last.
    """
    places = {
        callback.state_key: place
        for place, callback in enumerate(callbacks)
        if is_overridden("state_dict", instance=callback, parent=Callback)
    }
    return [c for place, c in enumerate(callbacks) if places.get(c.state_key, place) == place]


class LogPictures(Callback):
    """Log a few validation images, true boxes on the left, predicted on the right.

    TensorBoard, Weights & Biases and MLflow show them; beside CSV files they are PNG files.

    Args:
        num_images: Images per validation set.
        score_threshold: Predicted boxes below it are not drawn.
    """

    def __init__(self, num_images: int = 4, score_threshold: float = 0.3) -> None:
        self.num_images = num_images
        self.score_threshold = score_threshold

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw the first images of each set."""
        if not trainer.loggers or not trainer.is_global_zero or batch_idx > 0:
            return
        name = trainer.datamodule.val_names[dataloader_idx]  # type: ignore[attr-defined]
        for b in range(min(self.num_images, len(batch))):
            picture = self._picture(batch, b, outputs[b])
            for logger in trainer.loggers:
                _log_picture(logger, f"val/{name}/{b}", picture, trainer.global_step)

    def _picture(self, batch: Batch, b: int, found: Detections) -> Any:
        question, truth = batch.questions[b], batch.known()[b]
        height, width = question.size
        image = batch.images[b, :, :height, :width].permute(1, 2, 0).cpu().numpy()
        phrases = question.prompt.phrases
        true_index, shown = truth.shows.cpu().nonzero().unbind(1)
        true = draw(
            image,
            truth.boxes.cpu()[true_index],
            [phrases[k] for k in shown.tolist()],
            colors=shown.tolist(),
        )
        found = found.select(found.scores > self.score_threshold).best_of_each_place()
        index = found.phrases.tolist()
        predicted = draw(
            image,
            rescale(found.boxes.cpu(), question.original_size, question.size),
            [
                f"{phrases[k]} {score:.2f}"
                for k, score in zip(index, found.scores.tolist(), strict=True)
            ],
            colors=index,
        )
        return side_by_side(true, predicted)


def _log_picture(logger: Logger, name: str, picture: np.ndarray, step: int) -> None:
    """Hand a picture, uint8 [H, W, 3], to a logger that takes some."""
    if isinstance(logger, TensorBoardLogger):
        logger.experiment.add_image(name, picture, step, dataformats="HWC")
    elif isinstance(logger, WandbLogger):
        logger.log_image(name, [picture], step)
    elif isinstance(logger, MLFlowLogger):
        logger.experiment.log_image(logger.run_id, picture, f"{name}/{step}.png")
    elif isinstance(logger, CSVLogger):
        path = Path(logger.log_dir) / f"pictures/{name}/{step}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)


class LogLearningRates(Callback):
    """Log one curve of the learning rate a part: that of its weights, or of its top layer."""

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Log the rates of the step that comes, as often as the losses."""
        if not trainer._logger_connector.should_update_logs:
            return
        rates: dict[str, float] = {}
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                part = str(group.get("name", "all")).partition("/")[0]
                # Layers below have less, and biases are listed after the weights.
                if "/bias" not in str(group.get("name")):
                    rates[part] = max(rates.get(part, 0.0), group["lr"])
        for logger in trainer.loggers:
            logger.log_metrics(
                {f"train/lr/{part}": rate for part, rate in rates.items()}, trainer.global_step
            )


class ScheduleWeightDecay(Callback):
    """Let the weight decay of every parameter group follow a schedule, without a warm-up.

    Args:
        schedule: Factor of the weight decay that the optimizer starts with.
    """

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Set the weight decay of the next step."""
        factor = self.schedule(trainer.global_step / trainer.estimated_stepping_batches)
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                # Kept in the group, it travels with the optimizer's state to a resumed run.
                initial = group.setdefault("initial_weight_decay", group["weight_decay"])
                group["weight_decay"] = initial * factor
