"""Systems to and from ASE's Atoms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from mindsci import tree
from mindsci.errors import InputError
from sponge.batch import concatenate
from sponge.system import System, check, create

if TYPE_CHECKING:
    import ase


def from_ase(atoms: ase.Atoms | Sequence[ase.Atoms], *, dtype: torch.dtype = torch.float64) -> System:
    """Returns the system of an ASE object, momenta included, or the batch of several.

    Raises InputError for a structure without atoms, or with values that are not finite.
    """
    from ase import Atoms
    from ase import units as ase_units

    if not isinstance(atoms, Atoms):
        return concatenate([from_ase(one, dtype=dtype) for one in atoms])
    if len(atoms) == 0:
        raise InputError("the structure has no atoms; check the file that it was read from")
    built = create(
        torch.as_tensor(atoms.get_positions(), dtype=dtype),
        torch.as_tensor(atoms.get_atomic_numbers(), dtype=torch.int64),
        masses=torch.as_tensor(atoms.get_masses(), dtype=dtype),
        cell=torch.as_tensor(atoms.cell.array, dtype=dtype)[None],
        periodic=tuple(bool(axis) for axis in atoms.pbc),  # type: ignore[arg-type]
    )
    # ASE keeps momenta in units of its own.
    moving = tree.replace(built, momenta=torch.as_tensor(atoms.get_momenta() * ase_units.fs, dtype=dtype))
    check(moving)
    return moving


def to_ase(one: System) -> ase.Atoms:
    """Returns the ASE object of a single system. Raises InputError for a batch: separate it first."""
    import ase
    from ase import units as ase_units

    if one.n_systems != 1:
        raise InputError(f"{one.n_systems} systems in the batch; convert each of sponge.separate(batch)")
    return ase.Atoms(
        numbers=one.atomic_numbers.cpu().numpy(),
        positions=one.positions.detach().cpu().double().numpy(),
        momenta=one.momenta.detach().cpu().double().numpy() / ase_units.fs,
        masses=one.masses.cpu().double().numpy(),
        cell=one.cell[0].detach().cpu().double().numpy(),
        pbc=one.periodic[0].cpu().numpy(),
    )
