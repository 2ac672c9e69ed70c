"""Inference: from images and prompts to labelled boxes and pictures of them."""
