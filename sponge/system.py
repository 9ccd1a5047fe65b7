"""The state of molecular dynamics: a batch of systems in one frozen tree.

Inside `sponge` everything is in angstrom, femtosecond, electronvolt, dalton and kelvin. Atoms of all systems
lie one after the other; `system` says to which one each belongs. Cells are row vectors, as in ASE.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindsci import tree, units
from mindsci.errors import InputError
from mindsci.tree import Tree

if TYPE_CHECKING:
    import ase


class System(Tree):
    """A batch of systems of particles."""

    positions: Float[Tensor, "atoms 3"]
    """[angstrom]"""
    momenta: Float[Tensor, "atoms 3"]
    """[Da angstrom/fs]"""
    masses: Float[Tensor, " atoms"]
    """[Da]"""
    atomic_numbers: Int[Tensor, " atoms"]
    system: Int[Tensor, " atoms"]
    """index of the system of each atom, ascending"""
    cell: Float[Tensor, "systems 3 3"]
    """row vectors [angstrom]; zero where the system has no cell"""
    forces: Float[Tensor, "atoms 3"]
    """[eV/angstrom]"""
    energy: Float[Tensor, " systems"]
    """potential energy [eV], always float64: a total energy is large against what must be conserved"""
    n_systems: int
    periodic: tuple[bool, bool, bool] = (False, False, False)
    """along which cell vectors every system of the batch repeats"""

    @property
    def n_atoms(self) -> int:
        return self.positions.shape[0]

    def sum_over_atoms(self, values: Float[Tensor, "atoms *rest"]) -> Float[Tensor, "systems *rest"]:
        """Returns the sum of a value of each atom over each system."""
        return values.new_zeros((self.n_systems, *values.shape[1:])).index_add(0, self.system, values)


def create(
    positions: Float[Tensor, "atoms 3"],
    atomic_numbers: Int[Tensor, " atoms"],
    *,
    system: Int[Tensor, " atoms"] | None = None,
    masses: Float[Tensor, " atoms"] | None = None,
    cell: Float[Tensor, "systems 3 3"] | None = None,
    periodic: tuple[bool, bool, bool] = (False, False, False),
) -> System:
    """Returns a system at rest, with zero energy and forces until a potential sets them.

    `masses` [Da] are those of the elements unless given. Raises InputError for arrays that do not fit.
    """
    positions = positions.contiguous()
    n_atoms = positions.shape[0]
    if system is None:
        system = torch.zeros(n_atoms, dtype=torch.int64, device=positions.device)
    if n_atoms == 0 or atomic_numbers.shape != (n_atoms,) or system.shape != (n_atoms,):
        raise InputError(
            f"{n_atoms} positions, {len(atomic_numbers)} atomic numbers, {len(system)} system indices; "
            "give one of each for every atom, and at least one atom"
        )
    if bool((system.diff() < 0).any()):
        raise InputError("the atoms of a system must lie together; sort them by system")
    n_systems = int(system[-1]) + 1
    if cell is None:
        cell = positions.new_zeros((n_systems, 3, 3))
    if cell.shape != (n_systems, 3, 3):
        raise InputError(f"cell has shape {list(cell.shape)}; give one (3, 3) cell to each of {n_systems} systems")
    repeating = cell[:, list(periodic)].detach().double()
    if any(periodic) and bool((torch.linalg.matrix_rank(repeating) < sum(periodic)).any()):
        raise InputError("a cell has no volume; give an independent vector [angstrom] along each periodic axis")
    return System(
        positions=positions,
        momenta=torch.zeros_like(positions),
        masses=standard_masses(atomic_numbers, positions.dtype) if masses is None else masses,
        atomic_numbers=atomic_numbers.to(torch.int64),
        system=system,
        cell=cell,
        forces=torch.zeros_like(positions),
        energy=torch.zeros(n_systems, dtype=torch.float64, device=positions.device),
        n_systems=n_systems,
        periodic=periodic,
    )


def standard_masses(atomic_numbers: Int[Tensor, " atoms"], dtype: torch.dtype) -> Float[Tensor, " atoms"]:
    """Returns the standard atomic weights [Da] of ASE's table [Meija2016]."""
    from ase.data import atomic_masses

    return torch.as_tensor(atomic_masses, dtype=dtype, device=atomic_numbers.device)[atomic_numbers]


def completed_cell(cell: Tensor, periodic: tuple[bool, bool, bool]) -> Tensor:
    """Returns cells whose open directions are unit vectors normal to the rest, as ASE's complete_cell."""
    from ase.geometry import complete_cell

    open_axes = [axis for axis in range(3) if not periodic[axis]]
    blanked = cell.detach().clone()
    blanked[:, open_axes] = 0.0
    completed = [torch.as_tensor(complete_cell(one.cpu().numpy())) for one in blanked]
    return torch.stack(completed).to(cell)


def concatenate(systems: Sequence[System]) -> System:
    """Returns one batch of all the systems. Raises InputError where they do not repeat along the same axes."""
    if len({one.periodic for one in systems}) != 1:
        raise InputError("a batch needs systems that are periodic along the same axes; run the others separately")
    offsets = [sum(one.n_systems for one in systems[:k]) for k in range(len(systems))]
    per_atom = {
        name: torch.cat([getattr(one, name) for one in systems])
        for name in ("positions", "momenta", "masses", "atomic_numbers", "cell", "forces", "energy")
    }
    index = torch.cat([one.system + offset for one, offset in zip(systems, offsets, strict=True)])
    n_systems = sum(one.n_systems for one in systems)
    return System(**per_atom, system=index, n_systems=n_systems, periodic=systems[0].periodic)


def separate(batch: System) -> list[System]:
    """Returns the systems of a batch, one by one."""
    found = []
    for k in range(batch.n_systems):
        atoms = batch.system == k
        picked = {
            name: getattr(batch, name)[atoms] for name in ("positions", "momenta", "masses", "atomic_numbers", "forces")
        }
        index = torch.zeros_like(batch.system[atoms])
        one = tree.replace(batch, **picked, system=index, cell=batch.cell[k : k + 1], energy=batch.energy[k : k + 1])
        found.append(tree.replace(one, n_systems=1))
    return found


def from_ase(atoms: ase.Atoms, *, dtype: torch.dtype = torch.float64) -> System:
    """Returns the system of an ASE object, momenta included; ASE keeps them in units of its own."""
    from ase import units as ase_units

    if len(atoms) == 0:
        raise InputError("the structure has no atoms; check the file that it was read from")
    built = create(
        torch.as_tensor(atoms.get_positions(), dtype=dtype),
        torch.as_tensor(atoms.get_atomic_numbers(), dtype=torch.int64),
        masses=torch.as_tensor(atoms.get_masses(), dtype=dtype),
        cell=torch.as_tensor(atoms.cell.array, dtype=dtype)[None],
        periodic=tuple(bool(axis) for axis in atoms.pbc),  # type: ignore[arg-type]
    )
    return tree.replace(built, momenta=torch.as_tensor(atoms.get_momenta() * ase_units.fs, dtype=dtype))


def to_ase(one: System) -> ase.Atoms:
    """Returns the ASE object of a single system. Raises InputError for a batch: separate it first."""
    import ase
    from ase import units as ase_units

    if one.n_systems != 1:
        raise InputError(f"{one.n_systems} systems in the batch; convert each of sponge.system.separate(batch)")
    return ase.Atoms(
        numbers=one.atomic_numbers.cpu().numpy(),
        positions=one.positions.detach().cpu().double().numpy(),
        momenta=one.momenta.detach().cpu().double().numpy() / ase_units.fs,
        masses=one.masses.cpu().double().numpy(),
        cell=one.cell[0].detach().cpu().double().numpy(),
        pbc=one.periodic,
    )


def kinetic_energy(system: System) -> Float[Tensor, " systems"]:
    """Returns the kinetic energy of each system [eV], in float64."""
    double = (system.momenta.double() ** 2).sum(-1) / (2.0 * system.masses.double())
    return system.sum_over_atoms(double) / units.ACCELERATION


def temperature(system: System, *, removed: int = 3) -> Float[Tensor, " systems"]:
    """Returns the kinetic temperature of each system [K]: 2 K / ((3 N - removed) k_B).

    removed: degrees of freedom that carry no kinetic energy; 3 where the total momentum is zero and kept.
    """
    count = system.sum_over_atoms(torch.ones_like(system.masses, dtype=torch.float64))
    freedom = (3.0 * count - removed).clamp(min=1.0)
    return 2.0 * kinetic_energy(system) / (freedom * units.BOLTZMANN_EV)
