"""The engine of ``glip label``: this process's share of the shards, whatever was done before."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from glip_pl.inference.many import Failure, detections
from glip_pl.inference.options import Options
from glip_pl.inference.predictor import Predictor
from glip_pl.inference.result import Result
from glip_pl.labelling.shard_file import Head, ShardFile, read_head
from glip_pl.labelling.sources import Shard
from glip_pl.prompts.compiled import CompiledPrompt

SHARDS = "shards"  # The folder of labelled shards below the output.


@dataclass
class Progress:
    """How far this process is.

    Attributes:
        images: All of its share that were not labelled when it began.
        done: Labelled since.
        failures: What could not be read.
        started: When it began, in seconds.
    """

    images: int
    done: int = 0
    failures: list[Failure] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def line(self) -> str:
        """Return it in one line: images, images per second, time left."""
        rate = self.done / max(time.monotonic() - self.started, 1e-6)
        left = round(max(self.images - self.done, 0) / rate) if rate else 0
        hours, minutes = left // 3600, left // 60 % 60
        return (
            f"{self.done} of {self.images} images, {rate:.1f} a second, "
            f"{hours}:{minutes:02}:{left % 60:02} left, {len(self.failures)} failed"
        )


@dataclass(frozen=True)
class Engine:
    """Label shards.

    Attributes:
        model: The model.
        prompt: What to look for in images without a prompt of their own.
        options: Which boxes are kept.
        output: Folder of the results.
        batch_size: Images at a time.
        num_workers: Processes that read images; None chooses.
        caption: Whether prompts are sentences.
        every: Of a video, every so manieth frame is labelled.
    """

    model: Predictor
    prompt: CompiledPrompt
    options: Options
    output: Path
    batch_size: int = 8
    num_workers: int | None = None
    caption: bool = False
    every: int = 1

    def run(
        self,
        shards: Sequence[Shard],
        *,
        rank: int = 0,
        world: int = 1,
        report: Callable[[Progress], None] | None = None,
    ) -> Progress:
        """Label this process's share of what is not labelled yet.

        Shard k belongs to process k mod `world`, so that processes need not talk. Which are done is
        told by the files that are there, so that another number of processes goes on where these
        were killed.

        Raises:
            ValueError: A shard that is there was made of other images, prompts or weights.
        """
        weights, asked = self.model.digest(), self._digest()
        heads = {shard.number: self._head(shard, weights, asked) for shard in shards}
        own = [
            shard
            for shard in shards
            if shard.number % world == rank and not self._is_done(shard, heads[shard.number])
        ]
        progress = Progress(sum(len(shard.items) for shard in own))
        for shard in own:
            with ShardFile(self.path_of(shard), heads[shard.number]) as kept:
                for found in self._found(shard):
                    kept.add(_record(found))
                    progress.done += 1
                    if isinstance(found, Failure):
                        progress.failures.append(found)
                    if report is not None:
                        report(progress)
        return progress

    def path_of(self, shard: Shard) -> Path:
        """Return the file of a labelled shard."""
        return self.output / SHARDS / f"{shard.number:06d}.jsonl"

    def _is_done(self, shard: Shard, head: Head) -> bool:
        path = self.path_of(shard)
        if not path.is_file():
            return False
        known = asdict(read_head(path))
        unlike = [name for name, value in asdict(head).items() if known[name] != value]
        if unlike:
            raise ValueError(
                f"{str(path)!r} was labelled with other {', '.join(unlike)}; go on with the same "
                "images, prompt, options and weights, or pass another --output"
            )
        return True

    def _head(self, shard: Shard, weights: str, asked: str) -> Head:
        return Head(weights, asked, shard.digest(), shard.name, self.prompt.names)

    def _digest(self) -> str:
        """SHA-256 of all beside weights and images that changes what is found."""
        chosen = {
            "captions": [chunk.prompt.caption for chunk in self.prompt.chunks],
            "answers": self.prompt.answers,
            "caption": self.caption,
            "batch_size": self.batch_size,
            "every": self.every,
            "precision": self.model.network.precision,
            **asdict(self.options),
        }
        return hashlib.sha256(json.dumps(chosen, sort_keys=True, default=dict).encode()).hexdigest()

    def _found(self, shard: Shard) -> Iterator[Result | Failure]:
        if shard.video is not None:
            yield from self._frames(shard.video)
            return
        prompts = [
            self.prompt if item.prompt is None else self.model.compile(item.prompt, self.caption)
            for item in shard.items
        ]
        yield from detections(
            *(self.model, [item.path for item in shard.items], prompts, self.options),
            batch_size=self.batch_size,
            num_workers=self.num_workers,
        )

    def _frames(self, video: Path) -> Iterator[Result | Failure]:
        stream = self.model.stream(
            *(video, self.prompt),
            every=self.every,
            batch_size=self.batch_size,
            options=self.options,
        )
        try:
            for number, (_, found) in enumerate(stream):
                yield found.of(f"{video}#{number * self.every}")
        except ValueError as error:
            yield Failure(str(video), str(error))


def _record(found: Result | Failure) -> dict[str, Any]:
    if isinstance(found, Failure):
        return {"image": found.name, "error": found.reason}
    height, width = found.size
    plain = found.to_dict()
    return {
        "image": plain["image"],
        "height": height,
        "width": width,
        "detections": plain["detections"],
    }
