"""What travels with the weights: the names they were trained on, thresholds and image sizes."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

_SCORES = ("score_temperature", "score_shift")
_NOTED = ("class_names", "trained_on", "thresholds", *_SCORES)


@dataclass(frozen=True)
class About:
    """What is known of a model beside its numbers.

    Attributes:
        class_names: All names of the training data; empty where it was trained on captions, or
            where they are not known.
        trained_on: The training sets, as their files were called.
        thresholds: Least score by name, as a calibration found them; other names take the default.
        score_temperature: What a calibration found that the logit of a score is to be divided by,
            for scores to be probabilities; 0 where nobody calibrated.
        score_shift: What is to be added then.
        short_side: Pixels of an image's shorter side at which the model was evaluated.
        max_side: Bound of the longer side, likewise.
    """

    class_names: tuple[str, ...] = ()
    trained_on: tuple[str, ...] = ()
    thresholds: Mapping[str, float] = field(default_factory=dict)
    score_temperature: float = 0.0
    score_shift: float = 0.0
    short_side: int = 800
    max_side: int = 1333

    @classmethod
    def of_checkpoint(cls, checkpoint: Mapping[str, Any]) -> Self:
        """Read what a training run noted in its checkpoint."""
        return cls.of(
            {
                **{k: checkpoint.get(k) for k in _NOTED},
                **(checkpoint.get("evaluation") or {}),
            },
            "the checkpoint",
        )

    @classmethod
    def of(cls, known: Mapping[str, Any], source: str) -> Self:
        """Check and take what a file says; what it does not say has the defaults.

        Raises:
            ValueError: A value is not of its kind.
        """
        names = {k: known.get(k) or () for k in ("class_names", "trained_on")}
        sides = {k: v for k in ("short_side", "max_side") if (v := known.get(k)) is not None}
        scores = {k: v for k in _SCORES if (v := known.get(k)) is not None}
        thresholds = known.get("thresholds") or {}
        wrong = [
            *(
                k
                for k, v in names.items()
                if isinstance(v, str) or not all(isinstance(name, str) for name in v)
            ),
            *(k for k, v in sides.items() if type(v) is not int or v < 1),
            *(k for k, v in scores.items() if not _is_number(v)),
        ]
        if not isinstance(thresholds, Mapping) or not all(map(_is_number, thresholds.values())):
            wrong.append("thresholds")
        if wrong:
            raise ValueError(
                f"{source} is damaged: {', '.join(wrong)} is not what it should be; convert or "
                "save the weights again"
            )
        return cls(
            tuple(names["class_names"]),
            tuple(names["trained_on"]),
            {str(name): float(value) for name, value in thresholds.items()},
            score_temperature=float(scores.get("score_temperature", 0.0)),
            score_shift=float(scores.get("score_shift", 0.0)),
            **sides,
        )

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote; an older folder, which has no such file, has the defaults."""
        if not path.is_file():
            return cls()
        try:
            known = json.loads(path.read_bytes())
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f"{str(path)!r} is no JSON ({error}); convert or save the weights again"
            ) from error
        if not isinstance(known, dict):
            raise ValueError(f"{str(path)!r} holds no JSON object; save the weights again")
        return cls.of(known, repr(str(path)))

    def write(self, path: Path) -> None:
        """Write a JSON file."""
        path.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
