"""Vocabulary packs: names that were encoded once, to be found by any copy of the same model."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self
from zipfile import BadZipFile

import numpy as np

_FORMAT = 2


@dataclass(frozen=True)
class EncodedChunk:
    """A part of a vocabulary as the text encoder reads it.

    Attributes:
        hidden: Token features, [M, d_text].
        positive_map: Boolean [K, M], True where phrase k covers token m.
        weights: [K, M], how much each token counts; see `glip_pl.prompts.weights`.
        phrase_ids: [K], which of the names each phrase is.
    """

    hidden: np.ndarray
    positive_map: np.ndarray
    weights: np.ndarray
    phrase_ids: np.ndarray


@dataclass(frozen=True)
class Vocabulary:
    """Names with all that is needed to find them, apart from the image.

    Attributes:
        names: The names.
        thresholds: [K], the least score of each name.
        chunks: Their encoded parts.
        encoder: Hash of the encoder that made the features.
    """

    names: tuple[str, ...]
    thresholds: np.ndarray
    chunks: tuple[EncodedChunk, ...]
    encoder: str

    def with_thresholds(self, thresholds: dict[str, float]) -> Self:
        """Return the vocabulary with other least scores for some names.

        Raises:
            ValueError: A name is not in it, or a score is none.
        """
        values = self.thresholds.copy()
        for name, value in thresholds.items():
            if name not in self.names or not 0 <= value <= 1:
                raise ValueError(
                    f"the threshold {value} of {name!r} does not suit the vocabulary "
                    f"{list(self.names)[:5]}; give names of it scores from 0 to 1"
                )
            values[self.names.index(name)] = value
        return replace(self, thresholds=values)

    def save(self, path: str | Path) -> None:
        """Write the pack as an .npz file; written aside first, so that it is whole or not there."""
        head = {
            "format": _FORMAT,
            "names": self.names,
            "encoder": self.encoder,
            "chunks": len(self.chunks),
        }
        arrays = {"head": np.array(json.dumps(head)), "thresholds": self.thresholds}
        for k, chunk in enumerate(self.chunks):
            arrays[f"hidden_{k}"] = chunk.hidden
            arrays[f"positive_map_{k}"] = chunk.positive_map
            arrays[f"weights_{k}"] = chunk.weights
            arrays[f"phrase_ids_{k}"] = chunk.phrase_ids
        target = Path(path)
        part = target.with_name(f".{target.name}.part")
        with part.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        part.replace(target)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a pack.

        Raises:
            ValueError: There is none, or it is damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                head = json.loads(str(arrays["head"]))
                if head["format"] != _FORMAT:
                    raise ValueError(f"its format is {head['format']}, not {_FORMAT}")
                chunks = tuple(
                    EncodedChunk(
                        arrays[f"hidden_{k}"],
                        arrays[f"positive_map_{k}"],
                        arrays[f"weights_{k}"],
                        arrays[f"phrase_ids_{k}"],
                    )
                    for k in range(head["chunks"])
                )
                return cls(tuple(head["names"]), arrays["thresholds"], chunks, head["encoder"])
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
            raise ValueError(
                f"{str(path)!r} is no vocabulary pack ({error}); write one with Vocabulary.save"
            ) from error
