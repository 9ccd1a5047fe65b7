"""The state of molecular dynamics: a batch of systems of different size in one frozen tree of flat arrays.

Inside `sponge` everything is in angstrom, femtosecond, electronvolt, dalton and kelvin. Atoms of all systems
lie one after the other; `system` says to which one each belongs. Cells are row vectors, as in ASE, of any shape.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mindsci import tree
from mindsci.errors import InputError
from mindsci.tree import Tree


class System(Tree):
    """A batch of systems of particles."""

    positions: Float[Tensor, "atoms 3"]
    """[angstrom]; never wrapped, so that an atom's path is continuous"""
    momenta: Float[Tensor, "atoms 3"]
    """[Da angstrom/fs]"""
    masses: Float[Tensor, " atoms"]
    """[Da]"""
    atomic_numbers: Int[Tensor, " atoms"]
    """0 is no element: a site that only carries charge"""
    system: Int[Tensor, " atoms"]
    """index of the system of each atom, ascending"""
    cell: Float[Tensor, "systems 3 3"]
    """row vectors [angstrom]; zero where the system has no cell"""
    periodic: Bool[Tensor, "systems 3"]
    """along which of its cell vectors each system repeats"""
    forces: Float[Tensor, "atoms 3"]
    """[eV/angstrom]"""
    energy: Float[Tensor, " systems"]
    """potential energy [eV], always float64: a total energy is large against what must be conserved"""
    stream: Int[Tensor, " systems"]
    """number of the random stream of each system: its noise goes with it from batch to batch"""
    n_systems: int
    virial: Float[Tensor, "systems 3 3"] | None = None
    """-dE/d(strain) [eV], float64; None unless the forces were asked for it"""
    pace: Float[Tensor, " systems"] | None = None
    """time step of each system over the dt of the rollout; None is 1 for all"""
    held: Float[Tensor, " systems"] | None = None
    """degrees of freedom that constraints take from each system, float64; None is 0 for all: `Constraints.start`"""
    slow_forces: Float[Tensor, "atoms 3"] | None = None
    """the part of `forces` that kicks with a longer step, of a run with several [eV/angstrom]"""
    deviation: Float[Tensor, " atoms"] | None = None
    """of an ensemble: the largest deviation among its members of the force on each atom, of all forces since this was
    None [eV/angstrom]; see `sponge.potentials.Ensemble`"""
    auxiliary: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    """what thermostats and barostats keep, by name, one row a system"""
    neighbors: Any = None
    """the `sponge.neighbors.Neighbors` that the last forces were taken with; None until then"""

    @property
    def n_atoms(self) -> int:
        return self.positions.shape[0]

    @property
    def starts(self) -> Int[Tensor, " systems_and_end"]:
        """First atom of each system, and the number of atoms at the end. Nothing waits for the host."""
        edges = torch.arange(self.n_systems + 1, dtype=self.system.dtype, device=self.system.device)
        return torch.searchsorted(self.system, edges)

    @property
    def atom_counts(self) -> Int[Tensor, " systems"]:
        """Number of atoms of each system."""
        return self.starts.diff()

    @property
    def velocities(self) -> Float[Tensor, "atoms 3"]:
        """Velocity of each atom [angstrom/fs]; zero of a site without mass."""
        return self.momenta / torch.where(self.masses > 0, self.masses, 1.0)[:, None]

    def sum_over_atoms(self, values: Float[Tensor, "atoms *rest"]) -> Float[Tensor, "systems *rest"]:
        """Returns the sum of a value of each atom over each system."""
        return values.new_zeros((self.n_systems, *values.shape[1:])).index_add(0, self.system, values)

    def step_of_atoms(self, dt: float) -> float | Float[Tensor, "atoms 1"]:
        """Returns the time step of each atom's system [fs]; dt itself where all systems keep the same pace."""
        return dt if self.pace is None else (dt * self.pace).index_select(0, self.system)[:, None]

    def step_of_systems(self, dt: float) -> float | Float[Tensor, " systems"]:
        """Returns the time step of each system [fs]; dt itself where all keep the same pace."""
        return dt if self.pace is None else dt * self.pace

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> System:
        """Returns the batch on a device, in a precision; energies and the virial stay in float64.

        A new precision drops the neighbour list, which belongs to positions to the last bit.
        """
        moved = tree.to(self, device=device)
        if dtype is None or dtype == self.positions.dtype:
            return moved
        double = {"energy": moved.energy, "virial": moved.virial, "held": moved.held}
        return tree.replace(tree.to(tree.replace(moved, neighbors=None), dtype=dtype), **double)


def create(
    positions: Float[Tensor, "atoms 3"],
    atomic_numbers: Int[Tensor, " atoms"],
    *,
    system: Int[Tensor, " atoms"] | None = None,
    masses: Float[Tensor, " atoms"] | None = None,
    cell: Float[Tensor, "systems 3 3"] | None = None,
    periodic: tuple[bool, bool, bool] | Bool[Tensor, "systems 3"] = (False, False, False),
    pace: Float[Tensor, " systems"] | None = None,
) -> System:
    """Returns systems at rest, with zero energy and forces until a potential sets them.

    `masses` [Da] are those of the elements unless given; `periodic` may be the same for all systems. The dtype is that
    of the positions. Raises InputError for arrays that do not fit, and for values that no system has.
    """
    positions = positions.contiguous()
    n_atoms, device, dtype = positions.shape[0], positions.device, positions.dtype
    if system is None:
        system = torch.zeros(n_atoms, dtype=torch.int64, device=device)
    if n_atoms == 0 or atomic_numbers.shape != (n_atoms,) or system.shape != (n_atoms,):
        raise InputError(
            f"{n_atoms} positions, {len(atomic_numbers)} atomic numbers, {len(system)} system indices; "
            "give one of each for every atom, and at least one atom"
        )
    if bool((system.diff() < 0).any()) or int(system[0]) < 0:
        raise InputError("the atoms of a system must lie together; sort them by system, and count systems from 0")
    n_systems = int(system[-1]) + 1
    cell = positions.new_zeros((n_systems, 3, 3)) if cell is None else cell
    masses = standard_masses(atomic_numbers, dtype) if masses is None else masses
    flags = torch.as_tensor(periodic, dtype=torch.bool, device=device).expand(n_systems, 3).contiguous()
    if cell.shape != (n_systems, 3, 3):
        raise InputError(f"cell has shape {list(cell.shape)}; give one (3, 3) cell to each of {n_systems} systems")
    built = System(
        positions=positions,
        momenta=torch.zeros_like(positions),
        masses=masses,
        atomic_numbers=atomic_numbers.to(torch.int64),
        system=system.to(torch.int64),
        cell=cell,
        periodic=flags,
        forces=torch.zeros_like(positions),
        energy=torch.zeros(n_systems, dtype=torch.float64, device=device),
        stream=torch.arange(n_systems, device=device),
        n_systems=n_systems,
        pace=pace,
    )
    check(built)
    return built


def check(system: System) -> None:
    """Raises InputError for a batch that cannot be simulated; the message names the system and the atom.

    Looked at: one precision throughout, finite positions and momenta, positive masses (or none, of virtual
    sites: element 0) and paces, at least one atom in every system, a cell with a volume where the system repeats.
    """
    dtype = system.positions.dtype
    floating = {"masses": system.masses, "cell": system.cell, "momenta": system.momenta, "pace": system.pace}
    for name, values in floating.items():
        if values is not None and values.dtype != dtype:
            raise InputError(f"positions are {dtype}, {name} {values.dtype}; convert one of them: no value is rounded")
    _refuse_atoms(system, ~system.positions.isfinite().all(-1), "has a position that is not finite")
    _refuse_atoms(system, ~system.momenta.isfinite().all(-1), "has a momentum that is not finite")
    massless = (system.masses == 0) & (system.atomic_numbers == 0)  # virtual sites
    _refuse_atoms(
        system, ~(((system.masses > 0) & system.masses.isfinite()) | massless), "has a mass that is not positive"
    )
    empty = (system.atom_counts == 0).nonzero().flatten().tolist()
    if empty:
        raise InputError(f"system {empty[0]} has no atoms; number the systems 0, 1, 2, ... without a gap")
    if system.pace is not None and not bool(((system.pace > 0) & system.pace.isfinite()).all()):
        raise InputError("pace must be positive: the time step of each system over the dt of the rollout")
    repeating = torch.where(system.periodic[:, :, None], system.cell.detach().double(), 0.0)
    flat = torch.linalg.matrix_rank(repeating) < system.periodic.sum(-1)
    if not bool(system.cell.isfinite().all()) or bool(flat.any()):
        bad = (flat | ~system.cell.isfinite().all(-1).all(-1)).nonzero().flatten().tolist()
        raise InputError(
            f"the cell of system {bad[0]} has no volume; give an independent vector [angstrom] along each periodic axis"
        )


def _refuse_atoms(system: System, bad: Bool[Tensor, " atoms"], what: str) -> None:
    found = bad.nonzero().flatten()
    if len(found):
        raise InputError(
            f"{name_atom(system, int(found[0]))} {what} ({len(found)} atoms do); give values that are finite"
        )


def name_atom(system: System, atom: int) -> str:
    """Returns "atom 5 (O) of system 2", with the atom's number within its system: how messages name atoms."""
    from ase.data import chemical_symbols

    owner, number = int(system.system[atom]), int(system.atomic_numbers[atom])
    symbol = chemical_symbols[number] if 0 <= number < len(chemical_symbols) else str(number)
    return f"atom {atom - int(system.starts[owner])} ({symbol}) of system {owner}"


def standard_masses(atomic_numbers: Int[Tensor, " atoms"], dtype: torch.dtype) -> Float[Tensor, " atoms"]:
    """Returns the standard atomic weights [Da] of ASE's table [Meija2016].

    Raises InputError for a number that is no element.
    """
    from ase.data import atomic_masses

    strange = atomic_numbers[(atomic_numbers < 0) | (atomic_numbers >= len(atomic_masses))]
    if len(strange):
        raise InputError(f"{int(strange[0])} is no atomic number; use 1 to {len(atomic_masses) - 1}, or give masses")
    return torch.as_tensor(atomic_masses, dtype=dtype, device=atomic_numbers.device)[atomic_numbers]
