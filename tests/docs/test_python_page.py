"""The page about Python does what it says, block by block."""

import re

import cv2
import numpy as np
from helpers import ROOT, write_image
from models import random_weights, write_checkpoint


def test_every_block_of_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path / "best.ckpt", random_weights())
    write_image(tmp_path / "photo.png", 48, 64)
    writer = cv2.VideoWriter("video.avi", cv2.VideoWriter.fourcc(*"MJPG"), 5, (64, 48))
    for k in range(4):
        writer.write(np.full((48, 64, 3), 60 * k, np.uint8))
    writer.release()
    names = {}

    for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs/python.md").read_text(), re.S):
        exec(block, names)

    assert (tmp_path / "found.png").is_file()
    assert (tmp_path / "folder/model.safetensors").is_file()
