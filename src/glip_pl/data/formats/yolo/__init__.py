"""YOLO: a label file per image."""
