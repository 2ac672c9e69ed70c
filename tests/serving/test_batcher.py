import asyncio
import threading
import time

import numpy as np
import pytest

from glip_pl.serving.batcher import Batcher
from glip_pl.serving.engine import Ask, Found
from glip_pl.serving.limits import Limits, Refusal
from glip_pl.serving.metrics import Metrics

ASK = Ask(np.zeros((1, 1, 3), np.uint8), "cat.", False, 0.3)


def test_what_waits_is_answered_together_and_no_more_waits_than_may():
    released, sizes = threading.Event(), []

    def engine(asks):
        released.wait(5)
        sizes.append(len(asks))
        return [Found([]) for _ in asks]

    async def ask_seven():
        batcher = Batcher(engine, Limits(max_queue=5, max_batch=3), Metrics())
        first = asyncio.create_task(batcher(ASK))
        await asyncio.sleep(0.05)  # The model is at work on it.
        others = [asyncio.create_task(batcher(ASK)) for _ in range(5)]
        await asyncio.sleep(0)
        with pytest.raises(Refusal, match="too many requests") as refused:
            await batcher(ASK)
        released.set()
        await asyncio.gather(first, *others)
        await batcher.close()
        return refused.value.status

    assert asyncio.run(ask_seven()) == 503
    assert sizes == [1, 3, 2]


def test_clients_that_ask_again_at_once_are_answered_together():
    sizes = []

    def engine(asks):
        time.sleep(0.02)
        sizes.append(len(asks))
        return [Found([]) for _ in asks]

    async def ask_again(batcher):
        for _ in range(4):
            await batcher(ASK)

    async def several():
        batcher = Batcher(engine, Limits(), Metrics())
        await asyncio.gather(*(ask_again(batcher) for _ in range(4)))
        await ask_again(batcher)
        await batcher.close()

    asyncio.run(several())

    # The first is not waited with; a lone client waits for nobody.
    assert sizes in ([4, 4, 4, 4, 1, 1, 1, 1], [1, 4, 4, 4, 3, 1, 1, 1, 1])
