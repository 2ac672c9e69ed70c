"""Folders of weights on the Hugging Face hub: ``hf:user/repo`` or ``hf:user/repo@revision``."""

from pathlib import Path

PREFIX = "hf:"


def hub_folder(name: str) -> Path:
    """Return the local copy of a repository; what is in the cache already needs no network.

    Args:
        name: "hf:user/repo", with "@" and a branch, tag or commit where that is wanted.

    Raises:
        ValueError: It is neither in the cache nor can it be fetched.
    """
    from huggingface_hub import snapshot_download  # Needed here alone, and slow to import.

    repository, _, revision = name.removeprefix(PREFIX).partition("@")
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise ValueError(f"{name!r} names no repository of the hub; write hf:user/repo")
    try:
        return Path(snapshot_download(repository, revision=revision or None))
    except Exception as error:  # Of the hub, of its HTTP client, or of the system.
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(
            f"{name!r} is neither in the local cache of the hub nor can it be fetched "
            f"({reason[0]}); check the name and the network, or pass a folder"
        ) from error
