"""Any potential as an ASE calculator, for ASE's optimisers, dynamics, phonons and neb."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from sponge.ase_atoms import from_ase
from sponge.neighbors import check_distances, neighbor_list
from sponge.potentials.potential import Potential
from sponge.thermodynamics import volume


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

    def calculate(
        self, atoms: Any = None, properties: Sequence[str] = ("energy",), system_changes: Sequence[str] = all_changes
    ) -> None:
        """Sets the results for the atoms, as ASE asks for them."""
        super().calculate(atoms, properties, system_changes)
        system = from_ase(self.atoms, dtype=self.dtype).to(self.device)
        self.potential.check(system)
        periodic = bool(system.periodic.all())
        if "stress" in properties and not periodic:
            raise PropertyNotImplementedError("the stress needs a cell that is periodic along all three axes")
        neighbors = neighbor_list(system, self.potential.cutoff, half=self.potential.half)
        check_distances(system, neighbors, self.potential.closest)
        found = self.potential.evaluate(system, neighbors, virial=periodic)
        energy = float(found.energy[0])
        self.results = {"energy": energy, "free_energy": energy, "forces": found.forces.cpu().double().numpy()}
        if periodic:
            stress = -found.virial[0] / volume(system)[0]
            self.results["stress"] = full_3x3_to_voigt_6_stress(stress.cpu().numpy())
