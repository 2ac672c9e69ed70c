"""Export: a trained model as files that run without PyTorch, with the vocabulary as an input."""
