"""Frames of a journal, some at a time: a trajectory may be larger than memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

ROWS = 1000
"""converted in one go"""


def pieces(frames: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yields some frames at a time, with the number of the first."""
    for first in range(0, len(frames), ROWS):
        yield first, frames[first : first + ROWS]
