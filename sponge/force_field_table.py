"""The table `[forcefield]` of a case: how a classical force field is summed, and what it holds rigid."""

from __future__ import annotations

from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator

from mindsci.config import Quantity, Table
from mindsci.errors import InputError
from sponge import cells
from sponge.builders import repartition_hydrogen_mass, with_born_radii
from sponge.forcefield import ForceField, Options
from sponge.forcefield.options import check as check_options
from sponge.forcefield.pme import with_grid
from sponge.system import System
from sponge.topology import Topology

HELD = {"none": None, "hydrogens": "hydrogens", "all bonds": "all"}
RADII = {"hct": "mbondi", "obc1": "mbondi2", "obc2": "mbondi2", "gbn": "bondi", "gbn2": "mbondi3"}
"""of the implicit solvents, where a topology brings none"""
NEUTRAL = 1e-3
"""[e]: charges of files are rounded"""


class ForceFieldTable(Table):
    """`[forcefield]`: of a system with a topology; what is not given suits the system, periodic or open."""

    cutoff: Quantity("angstrom") = "9 angstrom"
    lennard_jones: Literal["all", "cutoff", "switch", "potential_shift", "force_shift", "pme"] | None = None
    """switch where `switch` is given, else all with coulomb = "all", and cutoff with the others"""
    switch: Quantity("angstrom") | None = None
    """where the switch of the Lennard-Jones energy begins"""
    long_range_correction: bool | None = None
    """of the Lennard-Jones energy beyond the cutoff: taken in a cell, unless told otherwise"""
    coulomb: Literal["all", "cutoff", "reaction_field", "shifted_force", "ewald", "pme"] | None = None
    """pme in a cell, all without one, unless given"""
    tolerance: float = Field(default=1e-4, gt=0, lt=0.5)
    """relative error of the forces between charges, of ewald and pme"""
    grid: tuple[int, int, int] | None = None
    dielectric: float = Field(default=78.3, ge=1)
    """beyond the cutoff of the reaction field"""
    damping: Quantity("1/angstrom") = "0.2 / angstrom"
    """of the shifted force"""
    solvent: Literal["hct", "obc1", "obc2", "gbn", "gbn2"] | None = None
    """implicit water"""
    solvent_dielectric: float = Field(default=78.5, ge=1)
    salt: Quantity("mol/l") = "0 mol/l"
    surface_tension: Quantity("eV/angstrom^2") = "0 eV/angstrom^2"
    constraints: Literal["none", "hydrogens", "all bonds"] = "none"
    rigid_water: bool = True
    constraint_tolerance: float | None = Field(default=None, gt=0, lt=0.01)
    hydrogen_mass: Quantity("Da") | None = None
    """moved to each hydrogen from the atom that holds it"""
    engine: Literal["auto", "reference", "numba"] = "auto"

    @model_validator(mode="after")
    def _sums_are_known(self) -> Self:
        kinds = (False,) if self.solvent is not None else (False, True)
        faults = []
        for periodic in kinds:
            try:
                check_options(self.options(periodic))
            except InputError as error:
                faults.append(str(error))
        if len(faults) == len(kinds):
            raise ValueError(faults[-1].replace("implicit_solvent", "solvent"))
        return self

    def rigid(self) -> dict[str, Any]:
        """Returns what readers hold rigid."""
        return {"rigid_water": self.rigid_water, "constraints": HELD[self.constraints]}

    def options(self, periodic: bool) -> Options:
        """Returns how the interactions of a system are summed."""
        coulomb = self.coulomb or ("pme" if periodic else "all")
        usual = "switch" if self.switch is not None else "all" if coulomb == "all" else "cutoff"
        lennard_jones = self.lennard_jones or usual
        corrected = self.long_range_correction
        if corrected is None:
            corrected = periodic and lennard_jones in ("cutoff", "switch")
        return Options(
            cutoff=self.cutoff,
            lennard_jones=lennard_jones,
            switch_from=self.switch,
            long_range_correction=corrected,
            coulomb=coulomb,
            dielectric=self.dielectric,
            damping=self.damping,
            tolerance=self.tolerance,
            grid=self.grid,
            implicit_solvent=self.solvent,
            solvent_dielectric=self.solvent_dielectric,
            salt=self.salt,
            surface_tension=self.surface_tension,
        )

    def prepared(self, system: System, topology: Topology) -> tuple[System, Topology]:
        """Returns one system with the masses asked for, and its topology with the radii of the implicit solvent."""
        if self.hydrogen_mass is not None:
            system = repartition_hydrogen_mass(system, topology, mass=self.hydrogen_mass)
        if self.solvent is not None and topology.generalised_born is None:
            topology = with_born_radii(topology, system.atomic_numbers, RADII[self.solvent])
        return system, topology

    def build(self, system: System, topology: Topology, *, cell_moves: bool) -> ForceField:
        """Returns the force field of a batch and its topology. Raises InputError for sums that do not suit the cell."""
        options = self.options(bool(system.periodic.all()))
        check_options(options)
        _check_cell(system, options)
        if cell_moves and options.coulomb == "pme" and options.grid is None:
            options = with_grid(options, system.cell)
        return ForceField(topology, options, engine=self.engine).to(system.positions.device)


def net_charge(system: System, topology: Topology) -> float:
    """Returns the charge of the first system [e]; zero where it is within the rounding of files."""
    if topology.nonbonded is None:
        return 0.0
    charges = topology.nonbonded.charges.detach()[: int(system.atom_counts[0])]
    total = float(charges.sum())
    return total if abs(total) > NEUTRAL else 0.0


def _check_cell(system: System, options: Options) -> None:
    periodic = bool(system.periodic.any())
    if options.splits and not bool(system.periodic.all()):
        raise InputError(
            f'coulomb = "{options.coulomb}" sums over the images of a cell, and the system has none; use coulomb = '
            '"all", or coordinates with a box'
        )
    if not periodic:
        return
    if options.coulomb == "all":
        raise InputError(
            'coulomb = "all" (and an implicit solvent, which needs it) is for open systems, but the coordinates have a '
            'box; use coulomb = "pme", or system.periodic = false'
        )
    cell = cells.completed_cell(system.cell.detach().double(), system.periodic)
    heights = torch.where(system.periodic, cells.heights(cell), float("inf"))
    shortest = float(heights.min())
    if shortest < 2.0 * options.cutoff:
        axis = "abc"[int(heights.min(0).values.argmin())]
        raise InputError(
            f"the box is {shortest:.4g} angstrom across along {axis}, below twice the cutoff, "
            f"{2 * options.cutoff:.4g}: an atom would meet an image of another twice; use forcefield.cutoff = "
            f'"{0.5 * shortest - 0.05:.1f} angstrom" or less, or a larger box'
        )
