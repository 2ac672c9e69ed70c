"""Few-shot training sets: so many images of each category, chosen by a seed."""

from collections import Counter
from collections.abc import Collection, Sequence

import torch


def few_shot(shown: Sequence[Collection[int]], shots: int, seed: int) -> list[int]:
    """Choose images until each category is in as many of them as asked for.

    Images are looked at in an order that the seed fixes; one is taken when any of its categories
    still lacks examples, and then counts for all of them, so a frequent category may end up with
    more. Official GLIP walks in the same way, but in the order of the file whatever the seed; its
    published numbers come from lists of images that it ships (GLIP, Sec. 5.2,
    https://arxiv.org/abs/2112.03857), which this does not reproduce.

    Args:
        shown: The categories that each image shows; images that show none are not taken.
        shots: Images per category; all of them where a category has fewer.
        seed: Fixes the order; official GLIP reports the mean over 3, 30 and 300.

    Returns:
        Positions of the chosen images, ascending.

    Raises:
        ValueError: There is nothing to choose.
    """
    if shots < 1:
        raise ValueError(f"shots is {shots}; give 1 or more, or leave it out for the full set")
    lacking = Counter(dict.fromkeys((c for categories in shown for c in categories), shots))
    order = torch.randperm(len(shown), generator=torch.Generator().manual_seed(seed)).tolist()
    chosen = []
    for image in order:
        categories = set(shown[image])
        if any(lacking[c] > 0 for c in categories):
            lacking.subtract(categories)
            chosen.append(image)
    return sorted(chosen)
