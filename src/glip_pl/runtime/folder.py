"""What an exported folder holds: three graphs, a tokenizer, and how to use them."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Literal

IMAGE, TEXT, GROUND = "image.onnx", "text.onnx", "ground.onnx"
TOKENIZER, DESCRIPTION = "tokenizer.json", "description.json"

# Raised whenever an older runtime would misread a folder.
FORMAT = 2


@dataclass(frozen=True)
class Description:
    """How an exported model is used.

    Attributes:
        encoder: Hash of text encoder and tokenizer; vocabulary packs carry it.
        max_tokens: Longest caption in tokens, special tokens included.
        unknown_token: What stands for words that the vocabulary lacks.
        short_side: Pixels of an image's shorter side.
        max_side: Bound of the longer side, which wins.
        score_threshold: Default of the least score that is returned.
        nms_iou: Of two boxes of one phrase that overlap more, the lower is dropped.
        max_detections: Boxes per image, over all phrases.
        candidates_per_level: Pairs of region and phrase that enter NMS, per pyramid level.
        aggregate: How the scores of a phrase's tokens become one.
        class_names: What the training data named; empty when it had captions.
        thresholds: Least score by name, as a calibration found them.
        int8: Whether weights of matrix products are 8 bit integers.
        glip_pl: The version that wrote it.
        format: The version of this description.
    """

    encoder: str
    max_tokens: int
    unknown_token: str
    short_side: int
    max_side: int
    score_threshold: float
    nms_iou: float
    max_detections: int
    candidates_per_level: int
    aggregate: Literal["mean", "max", "power", "logits"]
    class_names: tuple[str, ...]
    int8: bool
    glip_pl: str
    format: int = FORMAT
    thresholds: Mapping[str, float] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write it beside the graphs."""
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        (folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")


def read_description(folder: Path) -> Description:
    """Read the description of an exported folder.

    Raises:
        ValueError: The folder is none that `glip export` wrote, or not whole, or too new.
    """
    lacking = [
        name
        for name in (DESCRIPTION, IMAGE, TEXT, GROUND, TOKENIZER)
        if not (folder / name).is_file()
    ]
    if lacking:
        raise ValueError(
            f"{str(folder)!r} is no exported model: it lacks {', '.join(lacking)}; pass a folder "
            "that `glip export` wrote"
        )
    try:
        described = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        version = described["format"]
        if version == FORMAT:
            described["class_names"] = tuple(described["class_names"])
            described.setdefault("thresholds", {})  # Folders of before have none.
            return Description(
                **{known.name: described[known.name] for known in fields(Description)}
            )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{str(folder / DESCRIPTION)!r} is damaged ({error}); export the model again"
        ) from error
    raise ValueError(
        f"{str(folder)!r} has the format {version}, and this glip_pl reads {FORMAT}; export the "
        "model again, or use the glip_pl that wrote it"
    )
