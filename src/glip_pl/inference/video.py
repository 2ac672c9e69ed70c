"""Frames of a video, one after the other."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from glip_pl.system.paths import path_of

VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")


def frames(video: str | Path, *, every: int = 1) -> Iterator[np.ndarray]:
    """Decode a video.

    Args:
        video: The file.
        every: Yield every so manieth frame only, from the first on.

    Returns:
        Yields uint8 [H, W, 3], RGB.

    Raises:
        ValueError: It is no file; on the way, one that is no video, or has no frame.
    """
    if not isinstance(every, int) or every < 1:
        raise ValueError(f"every={every!r} must be a positive whole number of frames")
    path = path_of("video", video)
    if path.is_dir():
        raise ValueError(f"{str(path)!r} is a folder; pass a video in it, or its images to predict")
    if not path.is_file():
        raise ValueError(f"there is no video {str(path)!r}; correct the path")
    return _decoded(path, every)


def _decoded(path: Path, every: int) -> Iterator[np.ndarray]:
    import cv2  # Needed for videos and pictures alone.

    capture = cv2.VideoCapture(str(path))
    try:
        count = 0
        while True:
            read, frame = capture.read()
            if not read:
                break
            if count % every == 0:
                yield np.ascontiguousarray(frame[..., ::-1])
            count += 1
    finally:
        capture.release()
    if count == 0:
        raise ValueError(f"the video {str(path)!r} has no frame that can be read; replace the file")
