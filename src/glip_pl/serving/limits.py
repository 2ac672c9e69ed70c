"""What a request may cost, and how it is refused otherwise."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The most that one request may take.

    Attributes:
        max_bytes: Of a request's body; more is refused with 413.
        max_pixels: Of an image, by its header, before anything is decoded; 413.
        max_prompt: Characters of a prompt; 422.
        max_queue: Requests that wait; one more is refused with 503.
        max_batch: Images that the model sees at once.
        seconds: For the answer; 504. A body that takes longer to arrive is refused with 408.
    """

    max_bytes: int = 20_000_000
    max_pixels: int = 40_000_000
    max_prompt: int = 2000
    max_queue: int = 64
    max_batch: int = 8
    seconds: float = 30.0


class Refusal(Exception):
    """A request that is not answered.

    Attributes:
        status: The HTTP status.
        reason: One sentence for whoever asked.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason
