"""WebDataset shards: tar files of images with JSON."""
