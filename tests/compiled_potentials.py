"""Systems and checks for forms for use of potentials: what stands between one and its model is the table of filters."""

from __future__ import annotations

from typing import Any

import numpy
import torch
from ase.build import bulk, molecule

from sponge import from_ase, neighbor_list
from sponge.neighbors import all_pairs
from sponge.potentials import AtomwisePotential
from sponge.system import System

ELEMENTS = ("H", "C", "O")
REFERENCE = 30.0
"""less than the reference energy of every element in size [eV]: most of what is no energy of interest"""


def two_molecules() -> System:
    random = numpy.random.default_rng(0)
    found = [molecule("CH3CH2OH"), molecule("CH3COOH")]
    for atoms in found:
        atoms.positions += 0.05 * random.normal(size=atoms.positions.shape)
    return from_ase(found)


def crystal() -> System:
    atoms = bulk("C", "diamond", a=3.5)  # cell vectors of 2.5 angstrom: an atom meets its own images
    atoms.positions += 0.1 * numpy.random.default_rng(1).normal(size=atoms.positions.shape)
    return from_ase(atoms)


SYSTEMS = {"molecules": two_molecules, "crystal": crystal}


def with_references(model: AtomwisePotential) -> AtomwisePotential:
    """Gives a new model references and a scale; returns it in float64."""
    model.set_scales(reference=torch.arange(len(model.elements)) - REFERENCE, scale=1.7)
    return model.double()


def check_errors(found: Any, exact: Any, system: System, *, energy: float, forces: float) -> None:
    """Checks energies, references left out, and forces, each as a share of the (largest) exact one."""
    atomic = exact.energy + REFERENCE * system.atom_counts
    assert float(((found.energy - exact.energy) / atomic).abs().max()) < energy
    assert float((found.forces - exact.forces).abs().max() / exact.forces.abs().max()) < forces


def check_form_for_use(model: AtomwisePotential, form: Any, system: System, *, halves: tuple[bool, ...]) -> None:
    """Checks that energies, forces and virials are as close to the model's as the table is to its functions."""
    exact = model.evaluate(system, neighbor_list(system, model.cutoff, half=model.half), virial=True)
    for tolerance in (1e-5, 1e-7):
        compiled = form(model, dtype=torch.float64, tolerance=tolerance, slope_tolerance=30 * tolerance)
        assert compiled.error < tolerance and compiled.slope_error < 30 * tolerance
        for half in halves:
            pairs = neighbor_list(system, model.cutoff + 0.5, half=half)
            found = compiled.evaluate(system, pairs, virial=True)
            check_errors(found, exact, system, energy=10 * tolerance, forces=300 * tolerance)
            # Pulls of both signs cancel in a crystal's virial.
            assert float((found.virial - exact.virial).abs().max() / exact.virial.abs().max()) < 1000 * tolerance


def check_single_precision(model: AtomwisePotential) -> None:
    """Checks the form for use in float32 against the model in float64: 1e-5 in energies, 1e-4 in forces."""
    system = two_molecules()
    exact = model.evaluate(system, all_pairs(system, half=True))
    single, compiled = system.to(dtype=torch.float32), model.for_use()
    assert type(compiled) is not type(model)
    found = compiled.evaluate(single, all_pairs(single, half=compiled.half))
    check_errors(found, exact, system, energy=1e-5, forces=1e-4)
