"""When one of several processes fails: what the others say, instead of the broken connection that they notice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch.distributed as dist

from mindsci.errors import UserError

KEY = "mindsci/failure"
PATIENCE = timedelta(seconds=1)
"""How long a process waits for another one's last words: they come just before the connection breaks, or never."""
_BROKEN = re.compile(
    r"connection (was )?(closed|reset|refused|aborted)|broken pipe|socket (closed|timeout)", re.IGNORECASE
)


class PeerError(UserError, RuntimeError):
    """Another process of the training failed."""


@contextmanager
def failures_told(store: dist.Store, rank: int, world: int) -> Iterator[None]:
    """Tells the other processes why this one fails, and says here why another one did.

    Raises PeerError in place of the error of a connection that another process broke.
    """
    try:
        yield
    except Exception as error:
        if not _BROKEN.search(str(error)) or isinstance(error, UserError):
            store.set(KEY, f"process {rank} of {world} failed: {_described(error)}")
            raise
        raise PeerError(f"{_last_words(store)}; the last checkpoint is kept: --resume continues from it") from error


def _last_words(store: dist.Store) -> str:
    try:
        store.wait([KEY], PATIENCE)
        return store.get(KEY).decode()
    except (dist.DistStoreError, dist.DistNetworkError, RuntimeError):
        return "another process ended without a word: it was killed, or ran out of memory"


def _described(error: Exception) -> str:
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
