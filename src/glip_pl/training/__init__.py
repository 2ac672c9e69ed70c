"""Training: the task, its objective, matching, optimizer settings and callbacks."""
