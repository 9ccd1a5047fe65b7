"""Any potential as an ASE calculator, for ASE's optimisers, dynamics, phonons and neb."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from jaxtyping import Float
from torch import Tensor

from mindsci import tree
from sponge.neighbors import neighbor_pairs
from sponge.potentials.potential import Potential
from sponge.system import System, from_ase


class PotentialCalculator(Calculator):
    """Energy [eV], forces [eV/angstrom] and, for a periodic cell, stress [eV/angstrom^3].

    The potential is moved to `device` and `dtype`. Raises InputError for an element that it does not know, and
    ASE's PropertyNotImplementedError for the stress of a system that is not periodic along all three axes.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress"]

    def __init__(
        self,
        potential: Potential,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float64,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.potential = potential.to(device=device, dtype=dtype)
        self.device, self.dtype = device, dtype

    def calculate(
        self, atoms: Any = None, properties: Sequence[str] = ("energy",), system_changes: Sequence[str] = all_changes
    ) -> None:
        """Sets the results for the atoms, as ASE asks for them."""
        super().calculate(atoms, properties, system_changes)
        system = tree.to(from_ase(self.atoms, dtype=self.dtype), device=self.device)
        self.potential.check(system)
        if "stress" in properties and not all(system.periodic):
            raise PropertyNotImplementedError("the stress needs a cell that is periodic along all three axes")
        energy, forces, virial = energy_forces_virial(self.potential, system)
        self.results = {
            "energy": float(energy[0]),
            "free_energy": float(energy[0]),
            "forces": forces.cpu().double().numpy(),
        }
        if all(system.periodic):
            stress = virial[0] / torch.linalg.det(system.cell[0]).abs()
            self.results["stress"] = full_3x3_to_voigt_6_stress(stress.cpu().double().numpy())


def energy_forces_virial(
    potential: Potential, system: System
) -> tuple[Float[Tensor, " systems"], Float[Tensor, "atoms 3"], Float[Tensor, "systems 3 3"]]:
    """Returns energies [eV], forces [eV/angstrom] and dE/d(strain) [eV], the strain of positions and cell alike."""
    pairs = neighbor_pairs(system, potential.cutoff)
    with torch.enable_grad():
        identity = torch.eye(3, dtype=system.positions.dtype, device=system.positions.device)
        strain = torch.zeros_like(system.cell).requires_grad_()
        positions = system.positions.detach().requires_grad_()
        # Only the symmetric part: a rotation changes no energy.
        deform = identity + 0.5 * (strain + strain.mT)
        strained = torch.einsum("ad,ade->ae", positions, deform[system.system])
        energy = potential(tree.replace(system, positions=strained, cell=system.cell @ deform), pairs)
        gradient, virial = torch.autograd.grad(energy.sum(), (positions, strain))
    return energy.detach(), -gradient, virial
