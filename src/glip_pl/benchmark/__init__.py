"""``glip benchmark``: what a model costs stage by stage, here and as it was first arranged."""
