"""GLIP as a PyTorch Lightning application: detect and ground anything that has a name."""

__version__ = "0.1.0"
