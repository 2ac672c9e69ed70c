"""Folders of PNG masks beside images."""
