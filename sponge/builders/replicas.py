"""Topologies of batches: as many copies of one as the batch has replicas."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from mindsci import tree
from mindsci.errors import InputError
from mindsci.tree import Tree
from sponge.topology import Topology

OF_ATOMS = ("atoms", "site", "parents", "exclusions", "connectivity")
"""fields that hold numbers of atoms"""
TABLES = ("grids",)


def replicate_topology(topology: Topology, count: int) -> Topology:
    """Returns the topology of so many replicas of a system, one after the other, as `sponge.replicate` makes them.

    Raises InputError below one.
    """
    if count < 1:
        raise InputError(f"count = {count}; use 1 or more")
    changed: dict[str, Any] = {}
    for field in fields(topology):  # type: ignore[arg-type]
        value = getattr(topology, field.name)
        if isinstance(value, Tree) and field.name != "residues":
            changed[field.name] = _copied(value, topology.n_atoms, count)
    if topology.connectivity is not None:
        changed["connectivity"] = _shifted(topology.connectivity, topology.n_atoms, count)
    if topology.residue_of_atom is not None:
        changed["residue_of_atom"] = _shifted(topology.residue_of_atom, len(topology.residues), count)
    return tree.replace(
        topology,
        n_atoms=count * topology.n_atoms,
        atom_names=count * topology.atom_names,
        residues=count * topology.residues,
        **changed,
    )


def _copied(record: Tree, n_atoms: int, count: int) -> Tree:
    changed = {}
    for field in fields(record):  # type: ignore[arg-type]
        value = getattr(record, field.name)
        # Tables of kinds are the same for all.
        shared = field.name in TABLES or (field.name in ("sigma", "epsilon") and value.ndim == 2)
        if field.name in OF_ATOMS:
            changed[field.name] = _shifted(value, n_atoms, count)
        elif not shared:
            changed[field.name] = torch.cat([value] * count)
    return tree.replace(record, **changed)


def _shifted(values: Tensor, by: int, count: int) -> Tensor:
    return torch.cat([values + k * by for k in range(count)])
