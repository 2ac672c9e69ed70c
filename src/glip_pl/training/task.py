"""GroundingTask, the LightningModule: how the GLIP network learns, and what a run remembers.

How it is evaluated lies in `glip_pl.training.evaluation`.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any, Self

import torch
from lightning_fabric.utilities.data import AttributeDict
from pytorch_lightning.utilities import rank_zero_info
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from glip_pl.backbones import FPN, Backbone, Neck
from glip_pl.fusion import FusionPlugin
from glip_pl.head import HeadStart
from glip_pl.inference.detector import Detector
from glip_pl.inference.postprocess import PostProcess, default_aggregate
from glip_pl.layers.alignment import Told
from glip_pl.matching import Matcher
from glip_pl.model import GLIP
from glip_pl.structures import Batch
from glip_pl.system.screen import wrapped
from glip_pl.system.seeds import seed_of
from glip_pl.text import TextEncoder
from glip_pl.training.criterion import GroundingCriterion
from glip_pl.training.denoising import Denoising, DenoisingSettings
from glip_pl.training.evaluation import Evaluated
from glip_pl.training.losses import LossWeights
from glip_pl.training.names import refuse_other_names
from glip_pl.training.optim import Cosine, OptimizerSettings, Plateau, Schedule, configured
from glip_pl.training.sharding import deal, gather, refuse_averages, shard
from glip_pl.tuning import Tuning
from glip_pl.tuning.checkpoint import fold, unfold
from glip_pl.tuning.fixed_prompt import tuned_prompt
from glip_pl.tuning.summary import summary
from glip_pl.weights.run_checkpoint import read_checkpoint


class GroundingTask(Evaluated):
    """Train and evaluate a grounded detector.

    Args:
        backbone: Image to feature maps.
        text: Token ids to token features.
        fusion: The fusion plugin.
        d_model: Width of the pyramid and of the regions.
        d_text: Width of the text features; must be that of the text encoder.
        neck: Makes the pyramid; see `GLIP`.
        head: Where GLIP's head starts, for plugins that bring none of their own.
        told: What a box is told by: each token of a phrase, as in GLIP, or the phrase as a whole.
        criterion: Turns output and truth into loss terms; official GLIP's is `InclusiveCriterion`.
        loss_weights: Weights of the loss terms.
        denoising: Adds queries that start from true boxes with noise, for plugins that take such;
            see `glip_pl.training.denoising`.
        optimizer: Learning rates and weight decay.
        schedule: How the learning rates change after the warm-up.
        postprocess: How scores become detections.
        tuning: What learns, and by how much is added to it; see `glip_pl.tuning`.

    Raises:
        ValueError: `d_text` is not the width of the text encoder, or the plugin takes no extra
            queries for denoising.
    """

    model: GLIP

    def __init__(
        self,
        backbone: Backbone,
        text: TextEncoder,
        *,
        fusion: FusionPlugin,
        d_model: int = 256,
        d_text: int = 768,
        neck: Callable[[Sequence[int], int], Neck] = FPN,
        head: HeadStart | None = None,
        told: Told = "tokens",
        criterion: Callable[[Matcher], GroundingCriterion] = GroundingCriterion,
        loss_weights: LossWeights | None = None,
        denoising: DenoisingSettings | None = None,
        optimizer: OptimizerSettings | None = None,
        schedule: Schedule | Plateau | None = None,
        postprocess: PostProcess | None = None,
        tuning: Tuning | None = None,
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
            self.describe({})
        self.model = GLIP(
            backbone, text, fusion=fusion, d_model=d_model, neck=neck, head=head, told=told
        )
        self.criterion = criterion(fusion.make_matcher())
        self.loss_weights = loss_weights or LossWeights()
        self.denoising = None if denoising is None else Denoising(d_model, denoising)
        self.optimizer_settings = optimizer or OptimizerSettings()
        self.schedule = schedule or Cosine()
        chosen = postprocess or PostProcess()
        chosen = replace(chosen, aggregate=chosen.aggregate or default_aggregate(told))
        self.detector = Detector(self.model, chosen)
        self.tuning = tuning or Tuning()
        self._is_tuned = False
        self.class_names: list[str] = []
        # Whether a run may be resumed on data of another vocabulary.
        self.takes_new_names = False
        self.trained_on: list[str] = []
        # Of the whole run: a resumed one goes on with that of its checkpoint.
        self._seed = torch.initial_seed()

    def describe(self, described: Mapping[str, Any]) -> None:
        """Replace the description that checkpoints carry, and that loggers write down."""
        self.hparams.clear()
        self.hparams.update(deepcopy(dict(described)))
        self._hparams_initial = AttributeDict(deepcopy(dict(described)))

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
            if self.device_mesh is not None:
                refuse_averages(self.trainer.callbacks)  # type: ignore[attr-defined]
                beside = () if self.denoising is None else (self.denoising,)
                shard(self.model, self.device_mesh["data_parallel"], *beside)

    def setup(self, stage: str) -> None:
        """Connect the data module with the text encoder, and make the metrics of a stage."""
        self.configure_model()
        data, text = self._data, self.model.text
        data.connect(text.tokenizer, one_prompt=self.tuning.mode == "prompt")
        sets = data.test if stage == "test" else data.val
        kind = "test" if stage == "test" else "val"
        self.metrics.prepare(kind, sets)

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

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, **kwargs: Any) -> Self:
        """Do as Lightning, with checkpoints of every version; see `read_checkpoint`."""
        described = read_checkpoint(checkpoint_path)["hyper_parameters"]
        return super().load_from_checkpoint(checkpoint_path, *args, **{**described, **kwargs})

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

    def on_validation_start(self) -> None:
        """Gather what is dealt to processes, where it is."""
        gather(self.model)

    def on_validation_end(self) -> None:
        """See `on_validation_start`."""
        deal(self.model)

    def on_fit_start(self) -> None:
        """Log what is about to learn."""
        rank_zero_info(wrapped(summary(self.model, self.tuning.mode)))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Weigh and sum the loss terms of a batch."""
        mask, truths, noisy = batch.tokens.mask, batch.known(), None
        if self.denoising is not None:
            noisy = self.denoising(self.criterion.objects(batch.questions, truths), truths)
        output = self.model(batch.images, batch.mask, batch.tokens, noisy and noisy.queries)
        terms = self.criterion(output, batch.questions, truths, mask)
        weights = self.loss_weights
        logged = {f"train/{name}": term for name, term in weights.counted(terms).items()}
        loss = weights.total(terms)
        if noisy is not None:
            assert output.extra is not None
            known = self.criterion(
                output.extra, batch.questions, truths, mask, matching=noisy.matching
            )
            logged["train/denoising"] = weights.total(known)
            loss = loss + logged["train/denoising"]
        self.log_dict(logged, batch_size=len(batch))
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch))
        return loss

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with a learning rate per part, warmed up and then scheduled over the whole run."""
        groups = self.optimizer_settings.groups(self.model)
        if self.denoising is not None:
            groups.append({"params": list(self.denoising.parameters()), "name": "denoising"})
        return configured(groups, self.optimizer_settings, self.schedule, self.trainer)
