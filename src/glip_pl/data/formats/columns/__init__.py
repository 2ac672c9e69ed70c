"""Annotations in columns: arrays of all images and boxes, in files that processes share."""
