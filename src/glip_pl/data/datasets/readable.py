"""Whether all images of a set can be read, before an evaluation ends at one that cannot.

Which images cannot is decided as by ``glip data check`` and ``convert``; they are left out, and
told, as everything else that is wrong with a set.
"""

import numpy as np
from torch import distributed

from glip_pl.data.annotations import Problems
from glip_pl.data.datasets.base import GroundingDataset
from glip_pl.data.formats.common.checks import note
from glip_pl.data.formats.common.image_files import broken_images
from glip_pl.data.report import tell_problems


def leave_out_broken(dataset: GroundingDataset, *, strict: bool = False) -> None:
    """Leave out the records of a loaded set whose images cannot be read.

    Of several processes, each looks at its share of the files, and all leave out the same.

    Args:
        dataset: The set.
        strict: Whether to refuse the set instead.

    Raises:
        ValueError: None is left, or one is broken and `strict` asks for none.
    """
    together = distributed.is_available() and distributed.is_initialized()
    rank, world = (distributed.get_rank(), distributed.get_world_size()) if together else (0, 1)
    mine = dataset.records[rank::world]
    names = dict(zip(mine.file_names(), mine.sizes.tolist(), strict=True))
    paths = {str(dataset.folder / name): name for name in names}
    found = broken_images(list(paths), [(height, width) for height, width in names.values()])
    shares = [{paths[path]: kind for path, kind in found.items()}]
    if together:
        shares *= world
        distributed.all_gather_object(shares, shares[rank])
    broken = {name: kind for share in shares for name, kind in share.items()}
    if not broken:
        return
    problems: Problems = {}
    for name, kind in sorted(broken.items()):
        note(problems, kind, name)
    tell_problems(dataset.annotations, problems, strict=strict)
    dataset.problems.update(problems)
    usable = [name not in broken for name in dataset.records.file_names()]
    dataset.records = dataset.records.take(np.array(usable, bool))
    if not dataset.records:
        raise ValueError(
            f"{dataset.annotations}: no image can be read, for example {next(iter(broken))!r} "
            f"({broken[next(iter(broken))]}); replace the files"
        )
