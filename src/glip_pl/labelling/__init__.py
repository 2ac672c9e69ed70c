"""Labelling many images: shards in, shards out, shared by processes that never talk."""
