"""The YAML files that a run is put together from, and how they are found by name."""
