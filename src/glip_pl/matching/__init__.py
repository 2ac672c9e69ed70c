"""Matchers: which region takes which box in training. A fusion plugin names its own."""

from glip_pl.matching.atss import ATSSMatcher
from glip_pl.matching.hungarian import HungarianMatcher
from glip_pl.matching.matcher import Matcher, Objects, Regions

__all__ = ["ATSSMatcher", "HungarianMatcher", "Matcher", "Objects", "Regions"]
