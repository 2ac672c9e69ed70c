"""ODVG: JSON lines of detection and grounding."""
