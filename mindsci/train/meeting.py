"""A corner of the processes' store that no earlier attempt has written in.

torchrun starts processes again beside the store of their predecessors, with the addresses in it that these listened at;
a process that reads one of them before it is overwritten connects to nobody.
"""

from __future__ import annotations

import json
import secrets
import time

import torch.distributed as dist

from mindsci.errors import InputError

PATIENCE = 1800.0
"""seconds for all processes to come: as long as torch waits"""
PAUSE = 0.02
NAME = "mindsci/attempt"


def met(store: dist.Store, rank: int, world: int) -> dist.Store:
    """Returns the store's corner for these processes, once all of them are there.

    The first process names the attempt; each of the others answers under that name with a token of its own, and goes on
    once the first has repeated its token: the answer to a name, or a name, of an earlier attempt has other tokens.
    """
    name = _called(store, world) if rank == 0 else _answered(store, rank)
    return dist.PrefixStore(f"mindsci/{name}", store)


def _called(store: dist.Store, world: int) -> str:
    name, deadline = secrets.token_hex(8), time.monotonic() + PATIENCE
    store.set(NAME, name)
    answers = [f"{NAME}/{name}/{rank}" for rank in range(1, world)]
    while answers and not store.check(answers):
        _pause(deadline, "the others")
    store.set(f"{NAME}/{name}", json.dumps([store.get(answer).decode() for answer in answers]))
    return name


def _answered(store: dist.Store, rank: int) -> str:
    token, deadline, answered = secrets.token_hex(8), time.monotonic() + PATIENCE, ""
    while True:
        if store.check([NAME]):
            name = store.get(NAME).decode()
            if name != answered:
                store.set(f"{NAME}/{name}/{rank}", token)
                answered = name
            if store.check([f"{NAME}/{name}"]) and token in json.loads(store.get(f"{NAME}/{name}")):
                return name
        _pause(deadline, "the first")


def _pause(deadline: float, whom: str) -> None:
    if time.monotonic() > deadline:
        raise InputError(f"waited {PATIENCE / 60:.0f} min in vain for {whom} of the processes that torchrun started")
    time.sleep(PAUSE)
