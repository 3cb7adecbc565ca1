"""Telling again and again of what lasts, ever more rarely."""


class Reminders:
    """Due when something has lasted for `first` seconds, then for twice as long, four times, and so
    on."""

    def __init__(self, first: float) -> None:
        self._next = first

    def are_due(self, seconds: float) -> bool:
        """Whether to tell of it now that it has lasted for so long; each time is told once."""
        if seconds < self._next:
            return False
        self._next *= 2
        return True
