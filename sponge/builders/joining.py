"""Topologies of several molecules or systems one after the other, as one."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from mindsci.errors import InputError
from mindsci.tree import Tree
from sponge.builders.replicas import OF_ATOMS
from sponge.topology import Nonbonded, Topology, TorsionMaps

CROSS = ("lorentz_berthelot", "geometric")
WHOLE = ("nonbonded", "generalised_born")
"""parts that speak of every atom: all topologies have them, or none"""


def join_topologies(*topologies: Topology, cross: str | None = None) -> Topology:
    """Returns one topology of the atoms of several, in their order.

    Tables of kinds that are the same are shared. Where they differ, pairs of kinds of two topologies take the mean that
    `cross` names, lorentz_berthelot or geometric, of what each kind has with itself. Names of atoms are lost where a
    topology has none. Raises InputError for parts that do not go together.
    """
    if not topologies:
        raise InputError("no topology to join; give one or more")
    if cross not in (None, *CROSS):
        raise InputError(f"cross = {cross!r} is unknown; use {' or '.join(CROSS)}")
    sizes = [one.n_atoms for one in topologies]
    offsets = [sum(sizes[:number]) for number in range(len(sizes))]
    joined: dict[str, Any] = {}
    for field in fields(Topology):
        values = [getattr(one, field.name) for one in topologies]
        held = [(value, offset) for value, offset in zip(values, offsets, strict=True) if value is not None]
        if not held or not isinstance(held[0][0], Tree):
            continue
        if field.name in WHOLE and len(held) < len(values):
            raise InputError(f"{len(held)} of {len(values)} topologies have `{field.name}`; give it to all or to none")
        if field.name == "nonbonded":
            joined[field.name] = _nonbonded(held, cross)
        elif field.name == "torsion_maps":
            joined[field.name] = _torsion_maps(held)
        else:
            joined[field.name] = _rows(held)
    return Topology(n_atoms=sum(sizes), **joined, **_connectivity(topologies, offsets), **_names(topologies))


def _rows(held: list[tuple[Any, int]], skip: tuple[str, ...] = ()) -> Any:
    record = type(held[0][0])
    return record(**_columns(held, [field.name for field in fields(record) if field.name not in skip]))


def _columns(held: list[tuple[Any, int]], names: list[str]) -> dict[str, Tensor]:
    return {
        name: torch.cat([getattr(value, name) + (offset if name in OF_ATOMS else 0) for value, offset in held])
        for name in names
    }


def _torsion_maps(held: list[tuple[TorsionMaps, int]]) -> TorsionMaps:
    before = [sum(len(one.grids) for one, _ in held[:number]) for number in range(len(held))]
    return TorsionMaps(
        **_columns(held, ["atoms"]),
        table=torch.cat([one.table + start for (one, _), start in zip(held, before, strict=True)]),
        grids=[grid for one, _ in held for grid in one.grids],
    )


def _nonbonded(held: list[tuple[Nonbonded, int]], cross: str | None) -> Nonbonded:
    columns = _columns(held, ["charges", "exclusions"])
    first = held[0][0]
    if all(_same(one.sigma, first.sigma) and _same(one.epsilon, first.epsilon) for one, _ in held):
        kind = torch.cat([one.kind for one, _ in held])
        return Nonbonded(**columns, kind=kind, sigma=first.sigma, epsilon=first.epsilon)
    if cross is None:
        raise InputError(
            "the topologies have different kinds of atoms, and nothing says how those of two interact; give "
            f"cross = {' or '.join(repr(name) for name in CROSS)}"
        )
    starts = [sum(len(one.sigma) for one, _ in held[:number]) for number in range(len(held))]
    radii = torch.cat([one.sigma.diagonal() for one, _ in held])
    depths = torch.cat([one.epsilon.diagonal() for one, _ in held])
    mean = torch.sqrt(radii[:, None] * radii) if cross == "geometric" else 0.5 * (radii[:, None] + radii)
    return Nonbonded(
        **columns,
        kind=torch.cat([one.kind + start for (one, _), start in zip(held, starts, strict=True)]),
        sigma=_blocks(mean, [one.sigma for one, _ in held]),
        epsilon=_blocks(torch.sqrt(depths[:, None] * depths), [one.epsilon for one, _ in held]),
    )


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool((one == other).all())


def _blocks(between: Tensor, within: list[Tensor]) -> Tensor:
    """A table whose diagonal blocks are each topology's own."""
    own = torch.block_diag(*within)
    inside = torch.block_diag(*[torch.ones_like(table) for table in within])
    return torch.where(inside > 0, own, between)


def _connectivity(topologies: tuple[Topology, ...], offsets: list[int]) -> dict[str, Tensor]:
    held = [one.connectivity for one in topologies]
    if any(links is None for links in held):
        return {}
    return {
        "connectivity": torch.cat([links + by for links, by in zip(held, offsets, strict=True) if links is not None])
    }


def _names(topologies: tuple[Topology, ...]) -> dict[str, Any]:
    owners = [one.residue_of_atom for one in topologies]
    if any(owner is None or not one.atom_names for owner, one in zip(owners, topologies, strict=True)):
        return {}
    before = [sum(len(one.residues) for one in topologies[:number]) for number in range(len(topologies))]
    return {
        "atom_names": tuple(name for one in topologies for name in one.atom_names),
        "residues": tuple(residue for one in topologies for residue in one.residues),
        "residue_of_atom": torch.cat(
            [owner + start for owner, start in zip(owners, before, strict=True) if owner is not None]
        ),
    }
