"""Which version of a kernel runs, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from mindsci.errors import InputError, UnknownNameError

PREFERRED = {"cuda": ("triton", "reference"), "cpu": ("numba", "reference")}
"""Engines tried in turn by "auto", for each type of device."""


def set_engine(model: Any, engine: str | None, name: str) -> None:
    """Sets the engine that a case names for a model; None leaves the model's own.

    Raises InputError for a model that has no choice; `name` is what the case calls it.
    """
    if engine is None:
        return
    if not hasattr(model, "engine"):
        raise InputError(f"model.engine: {name} has one engine, that of torch; leave it out")
    model.engine = engine


def choose_engine(
    requested: str, *, device: torch.device, available: Mapping[str, Callable[[], str | None]]
) -> tuple[str, str]:
    """Returns the engine to use and one sentence that says why it was chosen.

    `available` maps each engine that an operation has to a function that returns None if it can serve
    this case, or the reason why not. An engine asked for by name is never replaced by another: where it
    cannot serve, InputError gives the reason.
    """
    if requested != "auto":
        if requested not in available:
            raise UnknownNameError.of("engine", requested, ["auto", *available])
        reason = available[requested]()
        if reason is not None:
            raise InputError(f"engine '{requested}' cannot run this case: {reason}; use engine = \"auto\"")
        return requested, "asked for"
    refused: list[str] = []
    for engine in PREFERRED.get(device.type, ("reference",)):
        if engine not in available:
            continue
        reason = available[engine]()
        if reason is None:
            why = "; ".join(refused) or f"the fastest on {device.type}"
            return engine, why
        refused.append(f"{engine} cannot: {reason}")
    raise InputError(f"no engine can run this case on {device}: {'; '.join(refused)}")
