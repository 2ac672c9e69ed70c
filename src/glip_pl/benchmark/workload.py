"""What is timed: detection in random images, or a training step on them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glip_pl.benchmark.measure import Measurement, StageTimes, measure
from glip_pl.data.collate import collate
from glip_pl.head import GroundingOutput
from glip_pl.inference.detector import Detector
from glip_pl.inference.postprocess import PostProcess
from glip_pl.layers.precision import narrow_weights
from glip_pl.model import GLIP
from glip_pl.prompts import PromptTemplate
from glip_pl.prompts.compiler import compile_names
from glip_pl.prompts.tokens import TokenBatch
from glip_pl.structures import Batch, Detections, Question, Sample, Truth
from glip_pl.training.task import GroundingTask

_BOXES = 10


@dataclass(frozen=True)
class Result:
    """What a workload computes.

    Attributes:
        values: The logits of the first prompt, [B, N, M], or the loss, [1].
        boxes: The boxes, xyxy pixels of the padded input.
        found: The detections; None where there are several prompts, or none are asked for.
    """

    values: Tensor
    boxes: Tensor
    found: list[Detections] | None


class Workload(ABC):
    """A model, and a batch of random images of one size that it works on.

    Attributes:
        prompts: How many prompts the names take.
        passes: How often a run reads or writes all weights, at least.
    """

    passes = 1

    def __init__(
        self,
        task: GroundingTask,
        model: GLIP,
        *,
        names: Sequence[str],
        size: tuple[int, int],
        batch_size: int = 1,
        precision: Literal["fp32", "bf16"] = "fp32",
        names_per_prompt: int | None = None,
    ) -> None:
        """Make the batch.

        Args:
            task: Has the losses and the post-processing.
            model: The arrangement of the task's model that is timed.
            names: What the prompts name.
            size: (height, width) of the images in pixels.
            batch_size: Images.
            precision: Of the arithmetic.
            names_per_prompt: Names per prompt, where not as many as the text encoder reads.
        """
        self.task, self.model, self.precision = task, model, precision
        self.device = next(model.parameters()).device
        compiled = compile_names(names, self.model.text.tokenizer, names_per_chunk=names_per_prompt)
        self.prompts = len(compiled.chunks)
        # Smooth noise: neighbouring cells are alike, as in a photograph.
        generator = torch.Generator().manual_seed(0)
        coarse = torch.rand(batch_size, 3, *(side // 20 + 2 for side in size), generator=generator)
        pixels = F.interpolate(coarse, size, mode="bicubic").clamp(0, 1) * 255
        count = len(names)
        shows = torch.arange(_BOXES)[:, None] % count == torch.arange(count)
        self.batch: Batch = collate(
            [
                Sample(
                    image=image.permute(1, 2, 0).byte().numpy(),
                    prompt=PromptTemplate().join(names),
                    phrase_ids=torch.arange(count),
                    original_size=size,
                    truth=Truth(
                        _boxes(size, generator),
                        shows,
                        crowd=torch.zeros(_BOXES, dtype=torch.bool),
                        image_id=0,
                    ),
                    chunks=compiled.chunks,
                )
                for image in pixels
            ],
            self.model.text.tokenizer,
        ).to(self.device)

    def autocast(self) -> AbstractContextManager[None]:
        """Compute in the precision asked for."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    @abstractmethod
    def prepare(self, *, compiled: bool = False) -> None:
        """Do what is done once, before many runs."""

    @abstractmethod
    def run(self, times: StageTimes) -> None:
        """Do it once, and time what is no part of the model."""

    @abstractmethod
    def result(self) -> Result:
        """Return what it computes, to be compared."""

    def ground(self, tokens: TokenBatch) -> GroundingOutput:
        """Run the whole model, and leave aside what it says of padded tokens."""
        output: GroundingOutput = self.model(self.batch.images, self.batch.mask, tokens)
        return replace(output, logits=output.logits[..., : tokens.ids.shape[1]])

    def measure(self, repeats: int) -> Measurement:
        """Find out what it costs."""
        return measure(
            *(self.run, self.model, repeats, self.device), moved=self.least_bytes(self.model)
        )

    def least_bytes(self, model: nn.Module) -> int:
        """Count what a run has to read and write at least: images, and every weight once."""
        weights = sum(p.numel() * p.element_size() for p in model.parameters())
        return self.batch.images.numel() + self.passes * weights


@dataclass(frozen=True, kw_only=True)
class _TimedPostProcess(PostProcess):
    times: StageTimes

    def __call__(self, output: GroundingOutput, questions: Sequence[Question]) -> list[Detections]:
        with self.times.stage("post-processing"):
            return super().__call__(output, questions)


class Detect(Workload):
    """Detection: encode, ground, post-process; the text is encoded anew each time."""

    def prepare(self, *, compiled: bool = False) -> None:
        """Narrow the weights for bf16, and compile where asked."""
        self.model.eval()
        if self.precision == "bf16":
            narrow_weights(self.model)
        if compiled:
            for name in ("encode_image", "encode_text", "ground"):
                setattr(self.model, name, torch.compile(getattr(self.model, name)))

    def run(self, times: StageTimes) -> None:
        """See `Workload`."""
        postprocess = _TimedPostProcess(**asdict(self.task.detector.postprocess), times=times)
        with self.autocast():
            Detector(self.model, postprocess)(self.batch)

    @torch.no_grad()
    def result(self) -> Result:
        """Return the head's output for the first prompt, and the detections if it is the only."""
        tokens = self.batch.tokens.select(slice(0, self.batch.chunk_sizes[0]))
        with self.autocast():
            output = self.ground(tokens)
        found = None
        if self.prompts == 1:
            found = self.task.detector.postprocess(output, self.batch.questions)
        return Result(output.logits.float(), output.boxes, found)


class DetectOfficially(Detect):
    """Detection with the whole model, image included, for every prompt."""

    @torch.no_grad()
    def run(self, times: StageTimes) -> None:
        """Run the first prompt, which stands for all of them."""
        tokens = self.batch.tokens.select(slice(0, self.batch.chunk_sizes[0]))
        output = self.ground(tokens)
        with times.stage("post-processing"):
            columns = slice(0, self.batch.chunk_sizes[0])
            questions = [question.select_tokens(columns) for question in self.batch.questions]
            self.task.detector.postprocess(output, questions)

    def measure(self, repeats: int) -> Measurement:
        """Count the first prompt for every prompt: padded alike, they take equally long."""
        return super().measure(repeats).times(self.prompts)


class Train(Workload):
    """A training step: forward, losses, backward and AdamW, all dropout off to compare losses."""

    # Weights are read forward, backward and by the optimizer, which writes them; gradients are
    # written and read, and so are both states of the optimizer.
    passes = 10

    def prepare(self, *, compiled: bool = False) -> None:
        """Turn off what is random, and compile where asked."""
        still(self.model.train())
        if compiled:
            self.model.forward = torch.compile(self.model.forward)  # type: ignore[method-assign]

    def run(self, times: StageTimes) -> None:
        """See `Workload`; memory counts gradients and the optimizer's state."""
        # Nothing is learned, so that every run computes the same.
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.0, fused=True)
        with self.autocast():
            loss = self._loss()
        with times.stage("backward"):
            loss.backward()  # type: ignore[no-untyped-call]
        with times.stage("optimizer"):
            optimizer.step()
        self.model.zero_grad(set_to_none=True)

    def result(self) -> Result:
        """Return the loss."""
        with self.autocast():
            return Result(self._loss().detach()[None], torch.zeros(1), None)

    def _loss(self) -> Tensor:
        batch = self.batch
        output = self.ground(batch.tokens)
        terms = self.task.criterion(output, batch.questions, batch.known(), batch.tokens.mask)
        return self.task.loss_weights.total(terms)


def still(model: nn.Module) -> None:
    """Turn off what a model in training does at random."""
    for module in model.modules():
        for name in ("dropout", "attention_dropout", "p", "probability", "share"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)


def _boxes(size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Draw boxes inside an image, [G, 4]."""
    corners = torch.rand(_BOXES, 2, 2, generator=generator).sort(1).values
    scale = torch.tensor([size[1], size[0]])
    return torch.cat([corners[:, 0] * scale, corners[:, 1] * scale + 1], 1)
