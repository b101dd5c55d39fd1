"""A clock that tests set."""


class Clock:
    """Returns `now`, which stands still, as a function like `time.monotonic`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.now
