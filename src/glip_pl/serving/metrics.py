"""What the server did, in the text format that Prometheus reads."""

from collections import Counter
from itertools import accumulate

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """Requests by status, their times, and the batches that were formed."""

    def __init__(self) -> None:
        self._requests = Counter[int]()
        self._batches = Counter[int]()
        self._times = [0] * (len(_SECONDS) + 1)
        self._total_time = 0.0

    def request(self, status: int, seconds: float) -> None:
        """Count a request that was answered or refused."""
        self._requests[status] += 1
        self._total_time += seconds
        place = sum(seconds > bound for bound in _SECONDS)
        self._times[place] += 1

    def batch(self, size: int) -> None:
        """Count a batch."""
        self._batches[size] += 1

    def text(self) -> str:
        """Return everything that was counted."""
        lines = ["# TYPE glip_requests_total counter"]
        lines += [
            f'glip_requests_total{{status="{status}"}} {count}'
            for status, count in sorted(self._requests.items())
        ]
        lines += ["# TYPE glip_batches_total counter"]
        lines += [
            f'glip_batches_total{{size="{size}"}} {count}'
            for size, count in sorted(self._batches.items())
        ]
        lines += ["# TYPE glip_request_seconds histogram"]
        bounds = [*map(str, _SECONDS), "+Inf"]
        lines += [
            f'glip_request_seconds_bucket{{le="{bound}"}} {count}'
            for bound, count in zip(bounds, accumulate(self._times), strict=True)
        ]
        lines += [
            f"glip_request_seconds_sum {self._total_time:.6f}",
            f"glip_request_seconds_count {sum(self._times)}",
        ]
        return "\n".join(lines) + "\n"
