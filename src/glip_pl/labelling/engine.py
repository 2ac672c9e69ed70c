"""The engine of ``glip label``: this process's share of the shards, whatever was done before."""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from glip_pl.inference.many import Failure, detections
from glip_pl.inference.options import Options
from glip_pl.inference.predictor import Predictor
from glip_pl.inference.result import Result
from glip_pl.labelling.shard_file import Head, read_head, shard_file
from glip_pl.labelling.sources import Item, Shard
from glip_pl.labelling.tasks import LabelTask, Skip

SHARDS = "shards"  # The folder of labelled shards below the output.


@dataclass
class Progress:
    """How far this process is.

    Attributes:
        images: All of its share that were not labelled when it began.
        done: Labelled since.
        failures: What could not be read.
        skipped: What was left out, by reason.
        started: When it began, in seconds.
    """

    images: int
    done: int = 0
    failures: list[Failure] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
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
        task: What to look for in each, and what to write of it.
        options: Which boxes are kept.
        output: Folder of the results.
        batch_size: Images at a time; None takes more of small ones.
        num_workers: Processes that read images; None chooses.
        every: Of a video, every so manieth frame is labelled.
    """

    model: Predictor
    task: LabelTask
    options: Options
    output: Path
    batch_size: int | None = None
    num_workers: int | None = None
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
        weights, asked = self._weights, self._digest()
        heads = {shard.number: self._head(shard, weights, asked) for shard in shards}
        own = [
            shard
            for shard in shards
            if shard.number % world == rank and not self._is_done(shard, heads[shard.number])
        ]
        progress = Progress(sum(len(shard.items) for shard in own))
        for shard in own:
            with shard_file(self.path_of(shard), heads[shard.number]) as add:
                for number, (item, found) in enumerate(self._found(shard)):
                    add(self._record(item, found))
                    progress.done += 1
                    # Frames of a video are counted as they come.
                    progress.images += number >= len(shard.items)
                    if isinstance(found, Failure):
                        progress.failures.append(found)
                    if isinstance(found, Skip):
                        progress.skipped[found.reason] += 1
                    if report is not None:
                        report(progress)
                # Another process may have labelled it in the meantime, and asked for other things.
                self._is_done(shard, heads[shard.number])
        return progress

    def left(self, shards: Sequence[Shard]) -> int:
        """Count the shards that are not labelled yet.

        Raises:
            ValueError: As for `run`: others that write to the same output asked for other things.
        """
        weights, asked = self._weights, self._digest()
        return sum(not self._is_done(s, self._head(s, weights, asked)) for s in shards)

    def path_of(self, shard: Shard) -> Path:
        """Return the file of a labelled shard."""
        return self.output / SHARDS / f"{shard.number:06d}.jsonl"

    @cached_property
    def _weights(self) -> str:
        """Hash of the weights; all of them are read for it, and a cluster runs shard by shard."""
        return self.model.digest()

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
        return Head(weights, asked, shard.digest(), shard.name, self.task.phrases)

    def _digest(self) -> str:
        """SHA-256 of all beside weights and images that changes what is found."""
        chosen = {
            **self.task.choices(),
            "batch_size": self.batch_size,
            "every": self.every,
            "precision": self.model.network.precision,
            **asdict(self.options),
        }
        return hashlib.sha256(json.dumps(chosen, sort_keys=True, default=dict).encode()).hexdigest()

    def _found(self, shard: Shard) -> Iterator[tuple[Item, Result | Failure | Skip]]:
        if shard.video is not None:
            yield from self._frames(shard.video)
            return
        asked = [self.task.prompt_of(item) for item in shard.items]
        paths = [i.path for i, p in zip(shard.items, asked, strict=True) if not isinstance(p, Skip)]
        found = detections(
            *(self.model, paths, [p for p in asked if not isinstance(p, Skip)], self.options),
            batch_size=self.batch_size,
            num_workers=self.num_workers,
        )
        for item, prompt in zip(shard.items, asked, strict=True):
            yield item, prompt if isinstance(prompt, Skip) else next(found)

    def _frames(self, video: Path) -> Iterator[tuple[Item, Result | Failure | Skip]]:
        prompt = self.task.prompt_of(Item(str(video)))
        if isinstance(prompt, Skip):
            yield Item(str(video)), prompt
            return
        try:
            stream = self.model.stream(
                *(video, prompt),
                every=self.every,
                batch_size=self.batch_size,
                options=self.options,
            )
            for number, (_, found) in enumerate(stream):
                frame = Item(f"{video}#{number * self.every}")
                yield frame, found.of(frame.path)
        except ValueError as error:
            yield Item(str(video)), Failure(str(video), str(error))

    def _record(self, item: Item, found: Result | Failure | Skip) -> dict[str, Any]:
        if isinstance(found, Failure):
            return {"image": item.path, "error": found.reason}
        if isinstance(found, Skip):
            return {"image": item.path, "skipped": found.reason}
        return {"image": item.path, **self.task.record(item, found)}
