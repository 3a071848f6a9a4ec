"""Stop strings, for adapters whose server leaves them out of its answer and does not say which one it met."""

from __future__ import annotations


def end_of_stop(text: str, new: str, stop: tuple[str, ...]) -> int | None:
    """Where the first stop string ends in `text + new`, when it ends in `new`; None when none does."""
    longest = max((len(each) for each in stop), default=0)
    start = max(0, len(text) - longest + 1)
    window = text[start:] + new
    ends = [start + at + len(each) for each in stop if (at := window.find(each)) >= 0]
    return min(ends, default=None)
