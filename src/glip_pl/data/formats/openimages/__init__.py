"""Open Images: CSV tables."""
