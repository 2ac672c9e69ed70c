"""Uploading a model to the Hugging Face hub."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def upload(save: Callable[[Path], None], repository: str, *, private: bool) -> str:
    """Upload what `save` writes into a folder as "user/name"; return its address.

    Raises:
        ValueError: It is no such name, the hub refuses, or there is no network.
    """
    if (
        not isinstance(repository, str)
        or repository.count("/") != 1
        or not all(repository.split("/"))
    ):
        raise ValueError(f'{repository!r} names no repository of the hub; write "user/name"')
    from huggingface_hub import HfApi  # Needed here alone, and slow to import.

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / repository.rpartition("/")[2]
        save(folder)
        try:
            hub = HfApi()
            address = hub.create_repo(repository, private=private, exist_ok=True)
            hub.upload_folder(repo_id=repository, folder_path=folder)
        except Exception as error:  # Of the hub, of its HTTP client, or of the system.
            raise ValueError(
                f"the model was not uploaded to {repository!r} ({error}); log in with "
                "`hf auth login`, and check the name and the network"
            ) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return str(address)
