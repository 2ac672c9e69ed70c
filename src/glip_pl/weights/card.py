"""The card of a folder of weights: what the model is, what it saw, and how to run it."""

from glip_pl.weights.weights import Weights

_LISTED = 50  # Names that a card lists.


def card_of(weights: Weights, name: str) -> str:
    """Write the ``README.md`` of a folder of weights, with the head that hubs read.

    Args:
        weights: The model.
        name: What the folder is called.
    """
    about, described = weights.about, weights.hyper_parameters
    parts = ", ".join(
        str(described[part]["class_path"]).rpartition(".")[2]
        for part in ("backbone", "text", "fusion")
    )
    parameters = sum(value.numel() for value in weights.state.values())
    names = ", ".join(about.class_names[:_LISTED]) or "not known, or free text"
    more = len(about.class_names) - _LISTED
    prompt = ". ".join(about.class_names[:2]) or "person. bicycle"
    return f"""---
library_name: glip_pl
pipeline_tag: zero-shot-object-detection
---

# {name}

A grounded detector: it finds in an image what a prompt names.

| | |
| --- | --- |
| parts | {parts} |
| parameters | {parameters / 1e6:.1f} million |
| trained on | {", ".join(about.trained_on) or "not noted"} |
| names of the training data | {names}{f" and {more} more" if more > 0 else ""} |
| image size | shorter side {about.short_side}, longer side at most {about.max_side} pixels |
| thresholds | {"per name, in about.json" if about.thresholds else "not calibrated"} |

```python
import glip_pl

model = glip_pl.load("{name}")
found = model.predict("photo.jpg", "{prompt}.")
```

Accuracy was not measured for this card; `glip test --weights={name}` measures it on your data.
"""
