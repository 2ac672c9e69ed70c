"""Callbacks: pictures of validation images, and a schedule of weight decay."""

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import TensorBoardLogger

from glip_pl.boxes import rescale
from glip_pl.inference.visualize import draw, side_by_side
from glip_pl.structures import Batch, Detections
from glip_pl.training.optim import Schedule


class LogPictures(Callback):
    """Log a few validation images to TensorBoard, true boxes on the left, predicted on the right.

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
        logger = trainer.logger
        if not isinstance(logger, TensorBoardLogger) or not trainer.is_global_zero or batch_idx > 0:
            return
        name = trainer.datamodule.val_names[dataloader_idx]  # type: ignore[attr-defined]
        for b in range(min(self.num_images, len(batch))):
            picture = self._picture(batch, b, outputs[b])
            logger.experiment.add_image(
                f"val/{name}/{b}", picture, trainer.global_step, dataformats="HWC"
            )

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
