"""A state dict under other names turned into one of ours: what every foreign form shares."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Conversion:
    """A foreign state dict in our terms.

    Attributes:
        state: Our names to tensors; where nothing changes they share memory with the source.
        sources: Our names to the foreign names that each tensor comes from.
        dropped: Foreign names to the reason why they are left out.
    """

    state: dict[str, Tensor]
    sources: dict[str, tuple[str, ...]]
    dropped: dict[str, str]


def convert_tensors(
    state: Mapping[str, Tensor],
    ours: Mapping[str, Tensor],
    sources: dict[str, tuple[str, ...]],
    *,
    join: Callable[[str, list[Tensor]], Tensor],
    reason: Callable[[str], str | None],
    refusal: Callable[[str], str],
) -> Conversion:
    """Make every tensor of ours of those that it comes from; none is missing, and none is left.

    Args:
        state: Foreign names to tensors.
        ours: Our names to tensors of the right shapes; they may live on the meta device.
        sources: Our names to the foreign names that each tensor comes from.
        join: Makes one of our tensors, by its name, of its sources.
        reason: Why a foreign tensor is left out on purpose; None for one that is not known.
        refusal: Puts what is wrong, "it lacks ...", into a message.

    Raises:
        ValueError: A tensor is missing, has another shape, or is of no known use.
    """
    needed = {source for names in sources.values() for source in names}
    dropped = {name: why for name in state if name not in needed if (why := reason(name))}
    foreign = [name for name in state if name not in needed and name not in dropped]
    lacking = sorted(needed - set(state))
    converted = {
        name: join(name, [state[source] for source in names])
        for name, names in sources.items()
        if all(source in state for source in names)
    }
    misshapen = [
        f"{name} is {list(value.shape)}, not {list(ours[name].shape)}"
        for name, value in converted.items()
        if value.shape != ours[name].shape
    ]
    wrong = {"lacks": lacking, "has unknown": foreign, "has other shapes:": misshapen}
    told = [f"{what} {', '.join(n[:3])} ({len(n)} in all)" for what, n in wrong.items() if n]
    if told:
        raise ValueError(refusal(f"it {'; it '.join(told)}"))
    return Conversion(converted, sources, dropped)
