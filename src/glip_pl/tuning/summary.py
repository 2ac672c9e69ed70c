"""What a tuning run is about to do, in a few words: which share learns, and what it takes."""

from glip_pl.model import GLIP, PARTS
from glip_pl.tuning.modes import Mode

# Beside the parameter itself: its gradient and AdamW's two means.
_COPIES = 3


def summary(model: GLIP, mode: Mode) -> str:
    """Return how much of a model learns, part by part, and how much memory the numbers take.

    Features that wait for the backward pass come on top; they depend on the images.
    """
    learning: dict[str, int] = {
        part: sum(
            parameter.numel()
            for module in model.modules_of(part)
            for parameter in module.parameters(recurse=False)
            if parameter.requires_grad
        )
        for part in PARTS
    }
    if model.prompt is not None and model.prompt.weight.requires_grad:
        learning |= {"prompt": model.prompt.weight.numel()}
    every = list(model.parameters())
    trained = sum(p.numel() for p in every if p.requires_grad)
    held = sum(p.numel() * p.element_size() for p in every)
    steps = _COPIES * sum(p.numel() * p.element_size() for p in every if p.requires_grad)
    total = sum(p.numel() for p in every)
    parts = ", ".join(f"{part} {_thousands(count)}" for part, count in learning.items() if count)
    return (
        f"tune={mode}: {_thousands(trained)} of {_thousands(total)} parameters learn "
        f"({100 * trained / total:.2f} %): {parts}\n"
        f"memory: {_megabytes(held)} for weights, {_megabytes(steps)} for gradients and AdamW"
    )


def _thousands(count: int) -> str:
    return f"{count / 1e6:.2f} million" if count >= 1e6 else f"{count:,}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
