"""COCO's detection JSON, and what LVIS shares with it."""
