"""What the formats share: records, checks, values, image files and paths."""
