"""Data modules outside a run, from the same YAMLs that `glip fit` takes."""

from glip_pl.data.descriptions import build, read_described
from glip_pl.data.module import GroundingDataModule


def read_descriptor(
    source: str, *, root: str | None = None, advice: str = "--data"
) -> GroundingDataModule:
    """Build the data module that a YAML describes; nothing of the data is read yet.

    Args:
        source: A path or a name; see `read_described`.
        root: Folder of the data, where it is not the one that the YAML names.
        advice: The option that `source` came from, for messages.

    Raises:
        ValueError: There is no such YAML, or it describes no data.
    """
    given = read_described(source, advice=advice)["data"]
    return build(GroundingDataModule, given, root=root, origin=f"{advice}={source}")
