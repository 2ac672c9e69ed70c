"""Seeds that depend on a place, not on what was drawn before.

A generator that is drawn from all through a run has a history, which a resumed run would have to
repeat. Here each sample and each step has a seed of its own, made of the run's seed and of where it
stands; whatever draws at that place draws the same, however the run came there.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b

import torch


def seed_of(*place: int | str) -> int:
    """Return the seed of a place, for example of (seed, epoch, position), below 2^63."""
    digest = blake2b(repr(place).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let torch's generator start from a seed within the block, and go on as before after it."""
    with torch.random.fork_rng(devices=[]):
        # Not `torch.manual_seed`, which would seed every accelerator as well.
        torch.default_generator.manual_seed(seed)
        yield
