"""Results of test runs: what is written beside every score, and how two runs are compared."""

from glip_pl.results.save import RESULTS, SaveResults

__all__ = ["RESULTS", "SaveResults"]
