"""Results of test runs: what is written beside every score, and how two runs are compared."""

from glip_pl.results.callback import RESULTS, SaveResults

__all__ = ["RESULTS", "SaveResults"]
