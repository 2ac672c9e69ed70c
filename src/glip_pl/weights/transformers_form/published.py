"""The released checkpoints of the Grounding DINO family on the Hugging Face hub."""

from dataclasses import dataclass
from pathlib import Path

# What a checkpoint is read from; other files of a repository, such as pickles, are left there.
_FILES = ["*.json", "*.safetensors", "vocab.txt"]


@dataclass(frozen=True)
class PublishedDino:
    """One released checkpoint.

    Attributes:
        repository: On the hub.
        trained_on: The training data.
        licence: As its card says.
        coco_ap: Zero-shot AP on COCO val2017 in percent, where it is published.
        lvis_ap: Zero-shot AP on LVIS minival in percent, likewise.
    """

    repository: str
    trained_on: str
    licence: str = "Apache-2.0"
    coco_ap: float | None = None
    lvis_ap: float | None = None


PUBLISHED_DINO = {
    "grounding_dino_t": PublishedDino(
        "IDEA-Research/grounding-dino-tiny", "Objects365, GoldG, Cap4M", coco_ap=48.4, lvis_ap=28.8
    ),
    "grounding_dino_b": PublishedDino(
        "IDEA-Research/grounding-dino-base", "Objects365, GoldG, Cap4M, COCO and more"
    ),
    "mm_grounding_dino_t": PublishedDino(
        "openmmlab-community/mm_grounding_dino_tiny_o365v1_goldg_grit_v3det",
        "Objects365, GoldG, GRIT, V3Det",
        coco_ap=50.4,
        lvis_ap=41.4,
    ),
    "mm_grounding_dino_b": PublishedDino(
        "openmmlab-community/mm_grounding_dino_base_all", "all of its authors' data"
    ),
    "mm_grounding_dino_l": PublishedDino(
        "openmmlab-community/mm_grounding_dino_large_all", "all of its authors' data"
    ),
    "llmdet_t": PublishedDino("iSEE-Laboratory/llmdet_tiny", "GroundingCap-1M", lvis_ap=44.7),
    "llmdet_b": PublishedDino("iSEE-Laboratory/llmdet_base", "GroundingCap-1M", lvis_ap=48.3),
    "llmdet_l": PublishedDino("iSEE-Laboratory/llmdet_large", "GroundingCap-1M", lvis_ap=51.1),
}


def fetch_dino(name: str) -> Path:
    """Return the local folder of a released checkpoint, downloaded once.

    Args:
        name: A key of `PUBLISHED_DINO`, or the repository of one.

    Raises:
        ValueError: It is neither in the hub's cache nor can it be downloaded.
    """
    from huggingface_hub import snapshot_download  # Needed here alone, and slow to import.
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    repository = PUBLISHED_DINO[name].repository if name in PUBLISHED_DINO else name
    try:
        return Path(snapshot_download(repository, allow_patterns=_FILES))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ValueError(
            f"{name!r} lies on the Hugging Face hub as {repository!r}, which cannot be reached; "
            "download config.json, model.safetensors and tokenizer.json of it elsewhere, and pass "
            "the folder that they are in"
        ) from error


def is_published_dino(name: str) -> bool:
    """Return whether a name is that of a released checkpoint, or of its repository."""
    return name in PUBLISHED_DINO or any(p.repository == name for p in PUBLISHED_DINO.values())
