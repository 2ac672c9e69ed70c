"""The card of an exported folder: what it is, and what was measured when it was written."""

from collections.abc import Mapping
from dataclasses import dataclass

from glip_pl.runtime.folder import Description

_LISTED = 50


@dataclass(frozen=True)
class Measured:
    """What an export found out about itself.

    Attributes:
        parts: Classes of backbone, text encoder and fusion.
        differences: The largest difference between fp32 graphs and PyTorch, per output.
        sizes: Bytes of each file, in fp32 and as it was written.
        scores: Score of PyTorch, of the fp32 graphs and of the graphs as written; empty where no
            data set was given.
        scored_on: The data set.
    """

    parts: tuple[str, ...]
    differences: Mapping[str, float]
    sizes: Mapping[str, tuple[int, int]]
    scores: Mapping[str, float]
    scored_on: str = ""

    def lines(self) -> list[str]:
        """Return it, a line for each value."""
        apart = [
            f"{name:11} within {value:.1e} of PyTorch at sizes that the exporter did not see"
            for name, value in self.differences.items()
        ]
        files = [
            f"{name:11} {after / 1e6:.2f} MB"
            + (f", in fp32 {b / 1e6:.2f} MB" if b != after else "")
            for name, (b, after) in self.sizes.items()
        ]
        scored = [
            f"{name:11} {value:.4f} on {self.scored_on}" for name, value in self.scores.items()
        ]
        return [*apart, *files, *scored]


def card_of(name: str, about: Description, measured: Measured) -> str:
    """Write the ``README.md`` of an exported folder."""
    names = ", ".join(about.class_names[:_LISTED]) or "not known, or free text"
    more = len(about.class_names) - _LISTED
    prompt = ". ".join(about.class_names[:2]) or "person. bicycle"
    files = "\n".join(
        f"| {file} | {before / 1e6:.2f} | {after / 1e6:.2f} |"
        for file, (before, after) in measured.sizes.items()
    )
    apart = "\n".join(f"| {key} | {value:.1e} |" for key, value in measured.differences.items())
    scores = "\n".join(f"| {key} | {value:.4f} |" for key, value in measured.scores.items())
    score = (
        f"| model | score on {measured.scored_on} |\n| --- | --- |\n{scores}"
        if scores
        else "The score was not measured; `glip export --data=...` measures it."
    )
    return f"""# {name}

A grounded detector as ONNX: it finds in an image what a prompt names, without PyTorch.

| | |
| --- | --- |
| parts | {", ".join(measured.parts)} |
| names of the training data | {names}{f" and {more} more" if more > 0 else ""} |
| image size | shorter side {about.short_side}, longer side at most {about.max_side} pixels |
| thresholds | {"per name" if about.thresholds else about.score_threshold} |
| weights of matrix products | {"8 bit integers" if about.int8 else "fp32"} |

```python
from glip_pl.runtime import Runtime

model = Runtime("{name}")
found = model.predict(pixels, "{prompt}.")  # uint8 [H, W, 3], RGB
```

## Measured when it was written

The largest difference between the graphs in fp32 and PyTorch, at batches and sizes that the
exporter did not see:

| output | difference |
| --- | --- |
{apart}

| file | fp32, MB | as it is, MB |
| --- | --- | --- |
{files}

{score}
"""
