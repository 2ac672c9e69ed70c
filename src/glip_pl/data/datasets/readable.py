"""Whether all images of a set can be read, before an evaluation stops at one."""

from glip_pl.data.datasets.base import GroundingDataset
from glip_pl.data.formats.common.image_files import broken_images

_SHOWN = 5


def check_images(dataset: GroundingDataset, rank: int = 0, world: int = 1) -> None:
    """Look for images that cannot be read.

    Args:
        dataset: A loaded set.
        rank: This process, which looks at its share.
        world: How many processes there are.

    Raises:
        ValueError: There are some.
    """
    mine = dataset.records[rank::world]
    paths = [str(dataset.folder / name) for name in mine.file_names()]
    broken = broken_images(paths, [(height, width) for height, width in mine.sizes.tolist()])
    if broken:
        lines = [f"{kind}: {path}" for path, kind in list(broken.items())[:_SHOWN]]
        more = [f"and {len(broken) - _SHOWN} more"] if len(broken) > _SHOWN else []
        raise ValueError(
            "\n  ".join([f"{dataset.annotations}: an evaluation cannot read", *lines, *more])
            + "\nreplace these files, or remove their records from the annotations"
        )
