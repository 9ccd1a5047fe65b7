"""Potentials behind ASE's calculator interface."""

from __future__ import annotations

import numpy
import pytest
import torch
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.optimize import BFGS

from mindsci.errors import InputError
from sponge.ase_calculator import PotentialCalculator
from sponge.potentials import LennardJones, SchNet


def skewed_argon() -> object:
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True)
    strain = numpy.eye(3) + 0.05 * numpy.random.default_rng(0).normal(size=(3, 3))
    atoms.set_cell(atoms.cell @ strain, scale_atoms=True)
    atoms.rattle(0.1, seed=1)
    return atoms


def schnet(*elements: str) -> SchNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SchNet(elements=elements, features=8, interactions=2, gaussians=10, cutoff=4.5)


@pytest.mark.parametrize("potential", [LennardJones(), schnet("Ar")], ids=["Lennard-Jones", "SchNet"])
def test_stress_is_the_slope_of_the_energy_over_strain(potential: torch.nn.Module) -> None:
    """Central differences of step 1e-5 on energies of 1 eV leave about 1e-10 eV."""
    atoms = skewed_argon()
    atoms.calc = PotentialCalculator(potential)
    stress = atoms.get_stress(voigt=False)
    for a, b in ((0, 0), (1, 2), (0, 1)):
        energies = []
        for sign in (1, -1):
            strain = numpy.eye(3)
            strain[a, b] += 0.5e-5 * sign
            strain[b, a] += 0.5e-5 * sign
            moved = atoms.copy()
            moved.set_cell(atoms.cell @ strain, scale_atoms=True)
            moved.calc = atoms.calc
            energies.append(moved.get_potential_energy())
        slope = (energies[0] - energies[1]) / 2e-5
        assert stress[a, b] == pytest.approx(slope / atoms.get_volume(), abs=1e-8)


def test_ase_optimises_with_it() -> None:
    atoms = molecule("H2O")
    atoms.calc = PotentialCalculator(schnet("H", "O"))
    before = atoms.get_potential_energy()
    BFGS(atoms, logfile=None).run(fmax=1e-3, steps=20)
    assert atoms.get_potential_energy() < before


def test_what_it_cannot_do_is_refused() -> None:
    atoms = molecule("NH3")
    atoms.calc = PotentialCalculator(schnet("H", "O"))
    with pytest.raises(InputError, match="not trained on N"):
        atoms.get_potential_energy()
    atoms = molecule("H2O")
    atoms.calc = PotentialCalculator(schnet("H", "O"))
    with pytest.raises(PropertyNotImplementedError, match="periodic"):
        atoms.get_stress()


def test_the_compiled_potential_answers_as_the_plain_one_while_the_atoms_change() -> None:
    """One calculator goes from molecule to molecule and along a path; the table of filters errs by 1e-6."""
    model = schnet("H", "C", "O")
    fast, plain = PotentialCalculator(model), PotentialCalculator(model, engine="reference")
    for name, shift in (("CH3OH", 0.0), ("CH3OH", 0.3), ("H2O", 0.0), ("CH3OH", 0.1)):
        atoms = molecule(name)
        atoms.positions[0] += shift
        results = []
        for calculator in (fast, plain):
            atoms.calc = calculator
            results.append((atoms.get_potential_energy(), atoms.get_forces()))
        (energy, forces), (exact, exact_forces) = results
        assert energy == pytest.approx(exact, rel=1e-5)
        assert numpy.abs(forces - exact_forces).max() < 1e-4 * numpy.abs(exact_forces).max()
    assert all(weight.requires_grad for weight in model.parameters())


def test_atoms_that_meet_on_the_way_are_named() -> None:
    atoms = molecule("H2O")
    atoms.calc = PotentialCalculator(LennardJones())
    atoms.get_potential_energy()
    atoms.positions[1] = atoms.positions[0]
    with pytest.raises(InputError, match="apart"):
        atoms.get_potential_energy()
