"""Descriptions of data as they are written: YAMLs of `glip fit`, by path or by name."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from jsonargparse import ArgumentParser

from glip_pl.configs.class_paths import with_current_paths
from glip_pl.configs.names import known
from glip_pl.configs.reading import read_yaml
from glip_pl.data.datasets.base import DatasetBuilder, GroundingDataset
from glip_pl.data.sampling import Sampling

_Kind = TypeVar("_Kind")


@dataclass(frozen=True)
class TrainingPart:
    """What a description says of training, for those who do not evaluate.

    Attributes:
        root: Folder that the paths of the sets start from.
        train: The training sets.
        builder: Writes the data under `root` when they can be made.
        sampling: How batches are drawn from the sets.
    """

    root: Path
    train: list[GroundingDataset]
    builder: DatasetBuilder | None = None
    sampling: Sampling = field(default_factory=Sampling)


def read_training_part(source: str, *, root: str | None, advice: str) -> TrainingPart:
    """Build the training sets of a description; nothing of the data is read yet.

    Args:
        source: See `read_described`.
        root: Folder of the data, where it is not the one that the YAML names.
        advice: The option that `source` came from, for messages.

    Raises:
        ValueError: There is no such YAML, or it describes no data.
    """
    given = read_described(source, advice=advice)["data"]
    names = TrainingPart.__dataclass_fields__
    part = {name: value for name, value in given.items() if name in names}
    built = build(TrainingPart, part, root=root, origin=f"{advice}={source}")
    return replace(built, root=built.root.expanduser())


def build(kind: type[_Kind], given: dict[str, Any], *, root: str | None, origin: str) -> _Kind:
    """Build what a section ``data`` describes.

    Args:
        kind: The class that its options are arguments of.
        given: The options.
        root: Folder of the data, where it is not the one among them.
        origin: Where they came from, for messages.

    Raises:
        ValueError: They are not arguments of that class.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, "data")
    if root is not None:
        given = {**given, "root": root}
    try:
        config = parser.parse_object({"data": given})
    except Exception as error:  # jsonargparse raises its own kinds.
        raise ValueError(f"{origin}: {error}; correct that file") from error
    built: _Kind = parser.instantiate_classes(config).data
    return built


def read_described(source: str, *, advice: str = "--data") -> dict[str, Any]:
    """Read the YAML of a description: all its sections, of which ``data`` is one.

    Args:
        source: A YAML with a section ``data``, as every run of `glip fit` leaves one in its
            folder (``config.yaml``); or the name of one of this project, such as "bccd".
        advice: The option that `source` came from, for messages.

    Returns:
        The sections, by the names and class paths of today.

    Raises:
        ValueError: There is no such YAML, or it describes no data.
    """
    path = _path(source, advice)
    try:
        document = with_current_paths(read_yaml(path))
    except ValueError as error:
        raise ValueError(f"{advice}={source}: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("data"), dict):
        raise ValueError(
            f"{advice}={source}: {str(path)!r} has no section `data`; give a YAML such as "
            "data/shapes.yaml, or the config.yaml of a run"
        )
    return document


def _path(source: str, advice: str) -> Path:
    """Find the file that a path or a name means."""
    path = Path(source)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise ValueError(f"{advice}={source}: there is no such file; correct the path")
        return path
    named = known("data")
    if source not in named:
        raise ValueError(
            f"{advice}={source} is not known; give the path of a YAML, or one of {', '.join(named)}"
        )
    return Path(named[source])
