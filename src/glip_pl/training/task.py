"""GroundingTask, the LightningModule: steps, optimizer and metrics around the GLIP network."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.plugins.precision import MixedPrecision
from pytorch_lightning.utilities import rank_zero_info
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torchmetrics import Metric

from glip_pl.backbones import Backbone, Neck
from glip_pl.data import GroundingDataModule
from glip_pl.fusion import FusionPlugin
from glip_pl.inference.detector import Detector
from glip_pl.inference.postprocess import PostProcess, default_aggregate
from glip_pl.layers.alignment import Told
from glip_pl.model import GLIP, Part
from glip_pl.structures import Batch, Detections
from glip_pl.system.seeds import seed_of
from glip_pl.text import TextEncoder
from glip_pl.training.criterion import GroundingCriterion
from glip_pl.training.denoising import Denoising, DenoisingSettings
from glip_pl.training.names import refuse_other_names
from glip_pl.training.optim import Cosine, OptimizerSettings, Plateau, Schedule
from glip_pl.training.screen import wrapped
from glip_pl.tuning import LoraSettings, Mode, Tuning
from glip_pl.tuning.checkpoint import fold, unfold
from glip_pl.tuning.fixed_prompt import tuned_prompt
from glip_pl.tuning.summary import summary


@dataclass(frozen=True)
class LossWeights:
    """Weights of the loss terms; see `glip_pl.training.criterion`."""

    token: float = 1.0
    giou: float = 2.0
    l1: float = 0.0
    centerness: float = 1.0


class GroundingTask(LightningModule):
    """Train and evaluate a grounded detector.

    Args:
        backbone: Image to feature maps.
        text: Token ids to token features.
        fusion: The fusion plugin.
        d_model: Width of the pyramid and of the regions.
        d_text: Width of the text features; must be that of the text encoder.
        extra_levels: Pyramid levels beyond the backbone's coarsest.
        drop_block: Share of cells that the pyramid drops in training; GLIP has 0.3.
        neck: What makes the pyramid, where it is not the feature pyramid network of these levels.
        initial_temperature: Start value of the head's temperature; GLIP has 1.
        initial_box_scale: Start value of the head's scale of box offsets; GLIP has 1.
        told: What a box is told by: each token of a phrase, as in GLIP, or the phrase as a whole.
        inclusive_losses: Measure box losses as official GLIP does; see `GroundingCriterion`.
        loss_weights: Weights of the loss terms.
        denoising: Adds queries that start from true boxes with noise, for plugins that take such;
            see `glip_pl.training.denoising`.
        optimizer: Learning rates and weight decay.
        schedule: How the learning rates change after the warm-up.
        postprocess: How scores become detections.
        tune: What learns: all parts ("full"), the head alone ("linear"), offsets of one prompt
            ("prompt"), or small additions to the weights ("lora"); see `glip_pl.tuning`.
        freeze: Parts that stay as they are, whatever `tune` says.
        lora: How large the additions of "lora" are.

    Raises:
        ValueError: `d_text` is not the width of the text encoder, or the plugin takes no extra
            queries for denoising.
    """

    def __init__(
        self,
        backbone: Backbone,
        text: TextEncoder,
        *,
        fusion: FusionPlugin,
        d_model: int = 256,
        d_text: int = 768,
        extra_levels: int = 2,
        drop_block: float = 0.0,
        neck: Callable[[Sequence[int], int], Neck] | None = None,
        initial_temperature: float = 0.1,
        initial_box_scale: float = 8.0,
        told: Told = "tokens",
        inclusive_losses: bool = False,
        loss_weights: LossWeights | None = None,
        denoising: DenoisingSettings | None = None,
        optimizer: OptimizerSettings | None = None,
        schedule: Schedule | Plateau | None = None,
        postprocess: PostProcess | None = None,
        tune: Mode = "full",
        freeze: list[Part] | None = None,
        lora: LoraSettings | None = None,
    ) -> None:
        super().__init__()
        if text.d_text != d_text:
            raise ValueError(
                f"the text encoder gives features of width {text.d_text}, but model.d_text is "
                f"{d_text}; pass --model.d_text={text.d_text}"
            )
        if denoising is not None and not fusion.takes_extra:
            raise ValueError(
                "model.denoising needs a fusion plugin that takes extra queries, such as dino; "
                f"{type(fusion).__name__} does not: choose another FUSION, or leave denoising out"
            )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*is an instance of `nn.Module`.*")
            self.save_hyperparameters()
        if isinstance(self.hparams.get("fusion"), nn.Module):
            # Built from Python rather than from a configuration: a pickled module in a checkpoint
            # could not be loaded with `weights_only=True`, so only the weights are kept.
            self.hparams.clear()
        self.model = GLIP(
            backbone,
            text,
            fusion=fusion,
            d_model=d_model,
            extra_levels=extra_levels,
            drop_block=drop_block,
            neck=neck,
            initial_temperature=initial_temperature,
            initial_box_scale=initial_box_scale,
            told=told,
        )
        self.criterion = GroundingCriterion(fusion.make_matcher(), inclusive=inclusive_losses)
        self.loss_weights = asdict(loss_weights or LossWeights())
        self.denoising = None if denoising is None else Denoising(d_model, denoising)
        self.optimizer_settings = optimizer or OptimizerSettings()
        self.schedule = schedule or Cosine()
        chosen = postprocess or PostProcess()
        chosen = replace(chosen, aggregate=chosen.aggregate or default_aggregate(told))
        self.detector = Detector(self.model, chosen)
        self.tuning = Tuning(tune, tuple(freeze or ()), lora or LoraSettings())
        self._is_tuned = False
        self.class_names: list[str] = []
        # Whether a run may be resumed on data of another vocabulary.
        self.takes_new_names = False
        self.trained_on: list[str] = []
        self.metrics = nn.ModuleDict()
        self.results: dict[str, float] = {}
        # Of the whole run: a resumed one goes on with that of its checkpoint.
        self._seed = torch.initial_seed()

    @property
    def _data(self) -> GroundingDataModule:
        data: GroundingDataModule = self.trainer.datamodule  # type: ignore[attr-defined]
        return data

    def configure_model(self) -> None:
        """Let a closed-set text encoder learn the names of the training data; choose what learns.

        Not left to `setup`, because callbacks that average the weights copy the model before that;
        they call this first.
        """
        if self._trainer is None or self.trainer.state.fn != "fit":
            return
        self.class_names = list(self._data.class_names)
        self.trained_on = self._data.train_files
        if self.model.text.names == []:
            self.model.text.learn_names(self.class_names)
            if "text" in self.hparams:
                self.hparams["text"].setdefault("init_args", {})["names"] = self.class_names
        if not self._is_tuned:
            self.tuning.prepare(self.model, lambda: tuned_prompt(self._data, self.model.text))
            self._is_tuned = True

    def setup(self, stage: str) -> None:
        """Hand the tokenizer to the data module, and make a metric for every evaluation set."""
        self.configure_model()
        data, text = self._data, self.model.text
        data.connect(text.tokenizer)
        sets = data.test if stage == "test" else data.val
        kind = "test" if stage == "test" else "val"
        for name, dataset in sets.items():
            self.metrics[f"{kind}/{name}"] = dataset.make_metric()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember what the training data named, and at which size images are evaluated."""
        checkpoint["class_names"] = self.class_names
        checkpoint["trained_on"] = self.trained_on
        checkpoint["seed"] = self._seed
        transform = self._data.eval_transform
        checkpoint["evaluation"] = {
            "short_side": transform.short_sides[0],
            "max_side": transform.max_side,
        }
        fold(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """See `on_save_checkpoint`.

        Raises:
            ValueError: A resumed run would learn other names.
        """
        before = checkpoint.get("class_names", [])
        if self._trainer is None or self.trainer.state.fn != "fit":
            self.class_names = before
            self.trained_on = checkpoint.get("trained_on", [])
        elif "class_names" in checkpoint and not self.takes_new_names:
            refuse_other_names(before, self.class_names)
        self._seed = checkpoint.get("seed", self._seed)
        unfold(checkpoint, self)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Let dropout and its like draw from the seed of this step.

        So a resumed run draws what an uninterrupted one does, in every process, and no state of a
        generator has to travel.
        """
        loop: Any = self.trainer.fit_loop  # Lightning types its counters too loosely.
        epoch = loop.epoch_progress.current.processed
        torch.manual_seed(seed_of(self._seed, epoch, batch_idx, f"rank {self.global_rank}"))

    def on_fit_start(self) -> None:
        """Say what is about to learn."""
        rank_zero_info(wrapped(summary(self.model, self.tuning.mode)))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Weigh and sum the loss terms of a batch."""
        mask, truths, noisy = batch.tokens.mask, batch.known(), None
        if self.denoising is not None:
            noisy = self.denoising(self.criterion.objects(batch.questions, truths), truths)
        output = self.model(batch.images, batch.mask, batch.tokens, noisy and noisy.queries)
        terms = self.criterion(output, batch.questions, truths, mask)
        logged = {f"train/{name}": term for name, term in terms.items() if self.loss_weights[name]}
        loss = self._weighed(terms)
        if noisy is not None:
            assert output.extra is not None
            known = self.criterion(
                output.extra, batch.questions, truths, mask, matching=noisy.matching
            )
            logged["train/denoising"] = self._weighed(known)
            loss = loss + logged["train/denoising"]
        self.log_dict(logged, batch_size=len(batch))
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch))
        return loss

    def _weighed(self, terms: Mapping[str, Tensor]) -> Tensor:
        return torch.stack([self.loss_weights[name] * term for name, term in terms.items()]).sum()

    # Lightning's type lacks lists, but takes them: callbacks get the detections and can draw them.
    def validation_step(  # type: ignore[override]
        self, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> list[Detections]:
        """Detect, and update the metric of the set that the batch comes from."""
        return self._evaluate(batch, f"val/{self._data.val_names[dataloader_idx]}")

    # As for `validation_step`.
    def test_step(  # type: ignore[override]
        self, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> list[Detections]:
        """See `validation_step`."""
        return self._evaluate(batch, f"test/{self._data.test_names[dataloader_idx]}")

    def predict_step(self, batch: Batch, batch_idx: int) -> list[Detections]:
        """Detect."""
        return self.detector(batch)

    def _evaluate(self, batch: Batch, key: str) -> list[Detections]:
        detections = self.predict_step(batch, 0)
        metric = self.metrics[key]
        assert isinstance(metric, Metric)
        metric.update(detections, batch.questions, batch.known())
        return detections

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of every validation set; a learning rate may fall by them."""
        self._log_metrics("val")
        last = self.trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        if self.trainer.state.fn != "fit" or self.trainer.sanity_checking or not last:
            return
        for config in self.trainer.lr_scheduler_configs:
            if isinstance(config.scheduler, ReduceLROnPlateau) and self.results:
                config.scheduler.step(next(iter(self.results.values())))

    def on_test_epoch_end(self) -> None:
        """Log the metrics of every test set."""
        self._log_metrics("test")

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Step the schedules, but for `Plateau`, which has stepped by then.

        Lightning lets it step after the checkpoints of an epoch are written, so that a resumed run
        would go on with a learning rate that is still too high.
        """
        if not isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step()

    def _log_metrics(self, kind: str) -> None:
        self.results = {}
        for key, metric in self.metrics.items():
            if key.startswith(f"{kind}/"):
                assert isinstance(metric, Metric)
                values = {f"{key}/{name}": float(value) for name, value in metric.compute().items()}
                metric.reset()
                if not self.results:
                    # One name for "the" score, whatever the data: checkpoints are chosen by it.
                    self.log(f"{kind}/score", next(iter(values.values())), prog_bar=True)
                self.results |= values
        self.log_dict(self.results)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with a learning rate per part, warmed up and then scheduled over the whole run."""
        settings = self.optimizer_settings
        # The fused step is the fastest and takes no memory, but Lightning refuses to clip gradients
        # for it in mixed precision; None lets torch choose.
        fused = None if isinstance(self.trainer.precision_plugin, MixedPrecision) else True
        groups = settings.groups(self.model)
        if self.denoising is not None:
            groups.append({"params": list(self.denoising.parameters()), "name": "denoising"})
        optimizer = torch.optim.AdamW(groups, lr=settings.lr, weight_decay=0.0, fused=fused)
        if isinstance(self.schedule, Plateau):
            plateau = ReduceLROnPlateau(optimizer, mode="max", **asdict(self.schedule))
            return {
                "optimizer": optimizer,
                "lr_scheduler": {
                    "scheduler": plateau,
                    "interval": "epoch",
                    # An epoch without validation has no new score to judge by.
                    "frequency": self.trainer.check_val_every_n_epoch or 1,
                    "monitor": "val/score",
                },
            }
        total = self.trainer.estimated_stepping_batches
        schedule = self.schedule

        def factor(step: int) -> float:
            return settings.warmup(step) * schedule(step / total)

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }
