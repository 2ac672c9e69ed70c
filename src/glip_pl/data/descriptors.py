"""Descriptions of data outside a run: the same YAMLs that `glip fit` takes, by path or by name."""

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from glip_pl.configs.names import known
from glip_pl.configs.reading import read_yaml
from glip_pl.data.module import GroundingDataModule


def read_descriptor(
    source: str, *, root: str | None = None, advice: str = "--data"
) -> GroundingDataModule:
    """Build the data module that a YAML describes; nothing of the data is read yet.

    Args:
        source: A YAML with a section ``data``, as every run of `glip fit` leaves one in its
            folder (``config.yaml``); or the name of one of this project, such as "bccd".
        root: Folder of the data, where it is not the one that the YAML names.
        advice: The option that `source` came from, for messages.

    Raises:
        ValueError: There is no such YAML, or it describes no data.
    """
    given: dict[str, Any] = dict(read_described(source, advice=advice)["data"])
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(GroundingDataModule, "data")
    if root is not None:
        given["root"] = root
    try:
        config = parser.parse_object({"data": given})
    except Exception as error:  # jsonargparse raises its own kinds.
        raise ValueError(f"{advice}={source}: {error}; correct that file") from error
    data: GroundingDataModule = parser.instantiate_classes(config).data
    return data


def read_described(source: str, *, advice: str = "--data") -> dict[str, Any]:
    """Read the YAML that `read_descriptor` takes: all its sections, of which ``data`` is one.

    Raises:
        ValueError: There is no such YAML, or it describes no data.
    """
    path = _path(source, advice)
    try:
        document = read_yaml(path)
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
