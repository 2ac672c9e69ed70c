"""ODinW, "object detection in the wild": one model on many small data sets."""
