"""Threads that share compiled loops: they hold no lock, and wait for their next work between calls."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

_submitting = threading.Lock()


@lru_cache(maxsize=8)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="mindsci")


def together(work: Callable[[int], Any], threads: int) -> list[Any]:
    """Returns [work(0), work(1), ...] of so many threads at once; work(0) is done by the caller."""
    if threads == 1:
        return [work(0)]
    # A forked process has none of the threads of its parent.
    pool = _pool(os.getpid(), threads - 1)
    # Those who wait for one another must not stand behind half of another group.
    with _submitting:
        others = [pool.submit(work, k) for k in range(1, threads)]
    first = work(0)
    return [first, *(other.result() for other in others)]


def runs(count: int, parts: int) -> list[tuple[int, int]]:
    """Returns `count` things in so many runs of equal length, as (first, last + 1)."""
    return list(itertools.pairwise(count * k // parts for k in range(parts + 1)))
