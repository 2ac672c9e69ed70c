"""Writing checkpoints so that whatever ends a run, each file on the disk is whole and usable."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from glip_pl.system.state_dicts import refuse_non_finite


class SafeCheckpointIO(TorchCheckpointIO):
    """Write a checkpoint beside its target, sync it to the disk, and only then rename it.

    A kill, a full disk or a power cut leaves the target as it was before, or complete. Weights that
    are not finite are neither written nor loaded. Name it under ``trainer.plugins``.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint.

        Raises:
            ValueError: The weights are not finite, or the disk does not take the file; what was
                at `path` before is still there.
        """
        refuse_non_finite(checkpoint.get("state_dict", {}), f"{str(path)!r} is not written")
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        target = Path(path)
        # Of the same folder, so that it is of the same file system and can be renamed.
        part = target.with_name(f".{target.name}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
            _sync_folder(target.parent)
        except (OSError, RuntimeError) as error:
            # torch's writer raises a RuntimeError, whose cause is the disk's.
            with suppress(OSError):
                part.unlink()
            before = "the file of before is kept" if target.exists() else "nothing is left of it"
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ValueError(
                f"cannot write the checkpoint {str(target)!r} ({reason}): {before}; make room on "
                "the disk, or choose another folder by --trainer.logger.init_args.save_dir=PATH"
            ) from error

    def load_checkpoint(self, path: str | Path, *args: Any, **options: Any) -> dict[str, Any]:
        """Read a checkpoint.

        Raises:
            ValueError: Its weights are not finite.
        """
        checkpoint: dict[str, Any] = super().load_checkpoint(path, *args, **options)
        refuse_non_finite(checkpoint.get("state_dict", {}), f"{str(path)!r} is not loaded")
        return checkpoint


def _sync_folder(folder: Path) -> None:
    """Bring a new name in a folder to the disk, where the system can."""
    with suppress(OSError):  # Windows opens no folders.
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
