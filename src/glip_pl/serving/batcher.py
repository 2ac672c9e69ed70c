"""Dynamic batches: what waits while the model works is answered together."""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from glip_pl.serving.engine import Answer, Ask, Engine
from glip_pl.serving.limits import Limits, Refusal
from glip_pl.serving.metrics import Metrics

# Who was answered asks again at once, or never: so long, as a part of the last batch's time, and at
# most so many seconds, a batch waits for them.
_PATIENCE, _MOST_PATIENCE = 0.25, 0.05

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Waiting:
    ask: Ask
    answer: "asyncio.Future[Answer]"


class Batcher:
    """A queue of bounded length before a model, which one thread works off."""

    def __init__(self, engine: Engine, limits: Limits, metrics: Metrics) -> None:
        self._engine, self._limits, self._metrics = engine, limits, metrics
        self._queue = asyncio.Queue[_Waiting](limits.max_queue)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, ask: Ask) -> Answer:
        """Wait for the answer to a question.

        Raises:
            Refusal: The queue is full, or the answer takes too long.
        """
        if self._task is None:
            self._task = asyncio.create_task(self._work())
        waiting = _Waiting(ask, asyncio.get_running_loop().create_future())
        try:
            self._queue.put_nowait(waiting)
        except asyncio.QueueFull:
            raise Refusal(503, "too many requests wait; try again in a second") from None
        try:
            return await asyncio.wait_for(waiting.answer, self._limits.seconds)
        except TimeoutError:
            raise Refusal(504, f"no answer within {self._limits.seconds:g} s") from None

    async def close(self) -> None:
        """Stop working; what waits is not answered."""
        if self._task is not None:
            self._task.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        expected, patience = 1, 0.0
        while True:
            batch = await self._gather(expected, patience)
            # Whoever gave up is not waited for.
            batch = [waiting for waiting in batch if not waiting.answer.done()]
            if not batch:
                continue
            self._metrics.batch(len(batch))
            asks: Sequence[Ask] = [waiting.ask for waiting in batch]
            begun = loop.time()
            try:
                answers = await loop.run_in_executor(self._thread, self._engine, asks)
            except Exception as error:  # One bad batch must not end the server.
                _logger.exception("a batch of %d images failed", len(batch))
                for waiting in batch:
                    if not waiting.answer.done():
                        waiting.answer.set_exception(error)
                continue
            for waiting, answer in zip(batch, answers, strict=True):
                if not waiting.answer.done():
                    waiting.answer.set_result(answer)
            # As many ask at once as were answered and wait by now. Without a word of them, eight
            # clients would be answered one and seven at a time, for ever.
            expected = len(batch) + self._queue.qsize()
            patience = min(_PATIENCE * (loop.time() - begun), _MOST_PATIENCE)

    async def _gather(self, expected: int, patience: float) -> list[_Waiting]:
        """Take what waits; where more are expected, wait for them, `patience` seconds at most."""
        batch = [await self._queue.get()]
        try:
            async with asyncio.timeout(patience):
                while len(batch) < min(expected, self._limits.max_batch):
                    batch.append(await self._queue.get())
        except TimeoutError:
            pass
        while len(batch) < self._limits.max_batch and not self._queue.empty():
            batch.append(self._queue.get_nowait())
        return batch
