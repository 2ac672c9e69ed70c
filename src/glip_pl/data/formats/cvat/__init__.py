"""CVAT's XML of images."""
