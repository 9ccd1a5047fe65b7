"""Any potential as an ASE calculator, for ASE's optimisers, dynamics, phonons and neb."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from mindsci import tree
from sponge.ase_atoms import from_ase
from sponge.dynamics.forces import Forces, check_forces
from sponge.neighbors import check_distances
from sponge.potentials.potential import Potential
from sponge.system import System
from sponge.thermodynamics import volume

SKIN = 0.5
"""[angstrom]: a list serves until an atom has moved by half of it"""


class PotentialCalculator(Calculator):
    """Energy [eV], forces [eV/angstrom] and, for a periodic cell, stress [eV/angstrom^3].

    The potential is taken in its fastest form for `device` and `dtype` (`Potential.for_use`; engine = "reference": as
    it is). Raises InputError for an element that it does not know, and
    ASE's PropertyNotImplementedError for the stress of a system that is not periodic along all three axes.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress"]

    def __init__(
        self,
        potential: Potential,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float64,
        engine: str = "auto",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.potential = potential.for_use(device=device, dtype=dtype, engine=engine)
        self.device, self.dtype = device, dtype
        self._system: System | None = None
        self._forces: Forces | None = None

    def calculate(
        self, atoms: Any = None, properties: Sequence[str] = ("energy",), system_changes: Sequence[str] = all_changes
    ) -> None:
        """Sets the results for the atoms, as ASE asks for them."""
        super().calculate(atoms, properties, system_changes)
        periodic = bool(self.atoms.pbc.all())
        if "stress" in properties and not periodic:
            raise PropertyNotImplementedError("the stress needs a cell that is periodic along all three axes")
        system = self._moved()
        if system is None:
            system = from_ase(self.atoms, dtype=self.dtype).to(self.device)
            self._forces = Forces.of(self.potential, system, skin=SKIN, virial=periodic)
            self._numbers, self._periodic = self.atoms.numbers.copy(), self.atoms.pbc.copy()
        with torch.no_grad():  # ASE asks for numbers: no tape is kept, whatever the potential
            system = self._forces(system)  # type: ignore[misc]
        energy = float(system.energy[0])
        if not math.isfinite(energy):
            self._system = None
            check_distances(system, system.neighbors, self.potential.closest)
            check_forces(system)
        self._system = system
        self.results = {"energy": energy, "free_energy": energy, "forces": system.forces.cpu().double().numpy()}
        if periodic:
            stress = -system.virial[0] / volume(system)[0]
            self.results["stress"] = full_3x3_to_voigt_6_stress(stress.cpu().numpy())

    def _moved(self) -> System | None:
        """Returns the last system with the atoms where they are now, or None for other atoms: a list may serve on."""
        atoms, kept = self.atoms, self._system
        if kept is None or not (
            np.array_equal(atoms.numbers, self._numbers) and np.array_equal(atoms.pbc, self._periodic)
        ):
            return None
        positions = torch.as_tensor(atoms.positions, dtype=self.dtype, device=self.device)
        cell = torch.as_tensor(atoms.cell.array, dtype=self.dtype, device=self.device)[None]
        if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
            return None
        return tree.replace(kept, positions=positions, cell=kept.cell if torch.equal(cell, kept.cell) else cell)
