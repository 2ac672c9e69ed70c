"""The released checkpoints of official GLIP: their files, and what they are known to reach."""

from dataclasses import dataclass
from pathlib import Path

from glip_pl.system.cache import cache_folder
from glip_pl.system.download import download

# The authors' repository on the Hugging Face hub.
HUB = "https://huggingface.co/GLIPModel/GLIP/resolve/main"


@dataclass(frozen=True)
class Published:
    """One released checkpoint.

    Attributes:
        file: Its name in the repository.
        trained_on: The pre-training data.
        coco_ap: Zero-shot AP on COCO val2017, in percent, as the authors state it.
        gigabytes: About the size of the file, which also holds an optimizer's state.
        sha256: Of the file, where it is known.
    """

    file: str
    trained_on: str
    coco_ap: float
    gigabytes: float
    sha256: str | None = None


PUBLISHED = {
    "glip_t_a": Published("glip_a_tiny_o365.pth", "Objects365", 42.9, 2.4),
    "glip_t_b": Published("glip_tiny_model_o365.pth", "Objects365", 44.9, 3.7),
    "glip_t_c": Published(
        "glip_tiny_model_o365_goldg.pth",
        "Objects365, GoldG",
        46.7,
        3.7,
        "4274770c817b966621097df306c5ae857a2bdf3dfc242afc402382d9604382d3",
    ),
    "glip_t": Published(
        "glip_tiny_model_o365_goldg_cc_sbu.pth",
        "Objects365, GoldG, CC3M, SBU",
        46.6,
        3.7,
        "3bec0a3dea804fcb278d7106c5438de5116ee888e49dfae46270e7ad7bc4ccbf",
    ),
    "glip_l": Published("glip_large_model.pth", "FourODs, GoldG, CC3M, CC12M, SBU", 51.4, 6.9),
}


def fetch(name: str, *, hub: str = HUB) -> Path:
    """Return the local file of a released checkpoint, downloaded once.

    Args:
        name: A key of `PUBLISHED`.
        hub: Where the files lie, where that is not the authors' repository.

    Raises:
        ValueError: It is neither in the cache nor can it be downloaded.
    """
    published = PUBLISHED[name]
    path = cache_folder() / published.file
    if not path.is_file():
        download(f"{hub}/{published.file}", path, sha256=published.sha256)
    return path
