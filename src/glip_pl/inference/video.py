"""Frames of a video, one after the other."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")


def frames(path: Path, *, every: int = 1) -> Iterator[np.ndarray]:
    """Decode a video.

    Args:
        path: The file.
        every: Yield every so manieth frame only, from the first on.

    Yields:
        uint8 [H, W, 3], RGB.

    Raises:
        ValueError: It is no video, or has no frame.
    """
    import cv2  # Needed for videos and pictures alone.

    if every < 1:
        raise ValueError(f"every={every} must be a positive number of frames")
    if not path.is_file():
        raise ValueError(f"there is no video {str(path)!r}; correct the path")
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
