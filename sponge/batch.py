"""Batches of systems: joined, picked from, taken apart, and multiplied into replicas."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from mindsci import tree
from mindsci.errors import InputError
from sponge.system import System

OF_ATOMS = ("positions", "momenta", "masses", "atomic_numbers", "forces")
OF_SYSTEMS = ("cell", "periodic", "energy")


def concatenate(systems: Sequence[System]) -> System:
    """Returns one batch of all the systems, each as it is; systems of different size and periodicity may be mixed.

    Random streams are kept where all differ; otherwise the systems get the streams 0, 1, 2, ... so that no two see the
    same noise. Raises InputError where precisions, devices or the variables of thermostats differ.
    """
    if not systems:
        raise InputError("no systems to join; give at least one")
    for name, values in (
        ("precision", {one.positions.dtype for one in systems}),
        ("device", {one.positions.device for one in systems}),
        ("set of thermostat variables", {tuple(sorted(one.auxiliary)) for one in systems}),
    ):
        if len(values) > 1:
            raise InputError(f"a batch has one {name}, not {sorted(map(str, values))}; convert the systems first")
    names = (*OF_ATOMS, *OF_SYSTEMS, "stream")
    joined = {name: torch.cat([getattr(one, name) for one in systems]) for name in names}
    offsets = [sum(one.n_systems for one in systems[:k]) for k in range(len(systems))]
    joined["system"] = torch.cat([one.system + offset for one, offset in zip(systems, offsets, strict=True)])
    joined["stream"] = _distinct(joined["stream"])
    optional: dict[str, Tensor | None] = {"virial": None, "pace": None, "held": None}
    if all(one.virial is not None for one in systems):
        optional["virial"] = torch.cat([one.virial for one in systems])  # type: ignore[misc]
    if any(one.pace is not None for one in systems):
        paces = [one.cell.new_ones(one.n_systems) if one.pace is None else one.pace for one in systems]
        optional["pace"] = torch.cat(paces)
    if any(one.held is not None for one in systems):
        held = [one.energy.new_zeros(one.n_systems) if one.held is None else one.held for one in systems]
        optional["held"] = torch.cat(held)
    if all(one.slow_forces is not None for one in systems):
        optional["slow_forces"] = torch.cat([one.slow_forces for one in systems])  # type: ignore[misc]
    auxiliary = {key: torch.cat([one.auxiliary[key] for one in systems]) for key in systems[0].auxiliary}
    n_systems = sum(one.n_systems for one in systems)
    return System(**joined, **optional, auxiliary=auxiliary, n_systems=n_systems)


def select(batch: System, which: int | slice | Sequence[int] | Int[Tensor, " picked"]) -> System:
    """Returns the batch of the systems named, in the order given; one that is named twice is there twice.

    Each keeps its random stream unless it is named twice (see `concatenate`). Raises InputError for a system that
    does not exist.
    """
    picked = _indices(batch, which)
    starts, counts = batch.starts[:-1][picked], batch.atom_counts[picked]
    index = torch.arange(len(picked), device=picked.device).repeat_interleave(counts)
    offset = starts - (counts.cumsum(0) - counts)
    atoms = torch.arange(len(index), device=picked.device) + offset[index]
    of_atoms = {name: getattr(batch, name).index_select(0, atoms) for name in OF_ATOMS}
    of_systems = {name: getattr(batch, name).index_select(0, picked) for name in OF_SYSTEMS}
    loose = {"deviation": batch.deviation, "slow_forces": batch.slow_forces}
    for name in ("virial", "pace", "held"):
        value = getattr(batch, name)
        of_systems[name] = None if value is None else value.index_select(0, picked)
    return tree.replace(
        batch,
        **of_atoms,
        **of_systems,
        system=index,
        stream=_distinct(batch.stream.index_select(0, picked)),
        auxiliary={key: value.index_select(0, picked) for key, value in batch.auxiliary.items()},
        n_systems=len(picked),
        **{name: None if value is None else value.index_select(0, atoms) for name, value in loose.items()},
        neighbors=None,
    )


def separate(batch: System) -> list[System]:
    """Returns the systems of a batch, one by one."""
    return [select(batch, k) for k in range(batch.n_systems)]


def replicate(system: System, copies: int) -> System:
    """Returns a batch with so many copies of a system, or of a batch, one after the other."""
    if copies < 1:
        raise InputError(f"copies = {copies}; use 1 or more")
    return select(system, list(range(system.n_systems)) * copies)


def preferred(taken: Bool[Tensor, " systems"], one: System, other: System) -> System:
    """Returns the places, cells and energies of `one` where a system is taken, else of `other`; what else is of `one`.

    The neighbour list is that of `one` too, whose skin covers what has not moved.
    """
    of_atoms, of_cells = taken.index_select(0, one.system)[:, None], taken[:, None, None]
    virial = None
    if one.virial is not None and other.virial is not None:
        virial = torch.where(of_cells, one.virial, other.virial)
    return tree.replace(
        one,
        positions=torch.where(of_atoms, one.positions, other.positions),
        forces=torch.where(of_atoms, one.forces, other.forces),
        cell=torch.where(of_cells, one.cell, other.cell),
        energy=torch.where(taken, one.energy, other.energy),
        virial=virial,
    )


def _indices(batch: System, which: int | slice | Sequence[int] | Tensor) -> Tensor:
    device = batch.system.device
    if isinstance(which, slice):
        return _some(torch.arange(batch.n_systems, device=device)[which])
    picked = torch.as_tensor(which, dtype=torch.int64, device=device).reshape(-1)
    outside = picked[(picked < -batch.n_systems) | (picked >= batch.n_systems)]
    if len(outside):
        raise InputError(f"there is no system {int(outside[0])} in a batch of {batch.n_systems}; use 0 to n - 1")
    return _some(torch.where(picked < 0, picked + batch.n_systems, picked))


def _some(picked: Tensor) -> Tensor:
    if len(picked) == 0:
        raise InputError("no system is picked; name at least one")
    return picked


def _distinct(stream: Tensor) -> Tensor:
    return stream if len(stream.unique()) == len(stream) else torch.arange(len(stream), device=stream.device)
