"""Threads that work on parts of one thing and wait for one another."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


def in_threads(work: Callable[[int, Callable[[], Any]], None], chunks: int) -> None:
    """Calls work(chunk, wait) in one thread for each chunk; `wait` returns once all have called it."""
    barrier = threading.Barrier(chunks)
    errors: list[BaseException] = []

    def run(chunk: int) -> None:
        try:
            work(chunk, barrier.wait)
        except threading.BrokenBarrierError:
            pass  # another thread failed, and has said why
        except BaseException as error:
            errors.append(error)
            barrier.abort()

    threads = [threading.Thread(target=run, args=(chunk,)) for chunk in range(1, chunks)]
    for thread in threads:
        thread.start()
    run(0)
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
