"""The folder of the user's cache: what can be made or fetched again."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return ``GLIP_CACHE``, or glip_pl in the user's cache."""
    users = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("GLIP_CACHE") or Path(users) / "glip_pl")
