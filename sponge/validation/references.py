"""Molecules whose terms other programs have printed: sander, CHARMM, GROMACS; Coulomb's constant is theirs."""

from __future__ import annotations

from pathlib import Path

import numpy

from mindsci import units
from mindsci.report import Row
from sponge.builders import from_amber, from_gromacs
from sponge.forcefield import ForceField, Options
from sponge.neighbors import neighbor_list
from sponge.neighbors.lists import all_pairs
from sponge.potentials.potential import differentiate
from sponge.system import System
from sponge.topology import Topology
from sponge.validation.rows import absolute, below, lacking, relative

AMBER_COULOMB = 18.2223**2 * units.KCAL_PER_MOL_EV
"""[eV angstrom]"""
CHARMM_ALA3 = {
    "bonds": 1.13242125,
    "angles": 1.06880188,
    "urey_bradley": 0.06142407,
    "torsions": 7.81143025,
    "harmonic_impropers": 0.0,
    "torsion_maps": 0.12679003,
    "lennard_jones": 909.28136359,
    "coulomb": -9007.16903192,
    "coulomb_14": 277.35152722,
    "lennard_jones_14": 3.35367163,
}
"""[kcal/mol], alanine tripeptide in water, no cutoff"""
CHARMM_22 = {
    "bonds": 1.3351,
    "angles": 14.1158,
    "urey_bradley": 0.3669,
    "torsions": 14.2773,
    "harmonic_impropers": 0.3344,
    "torsion_maps": -0.5239,
}
ASH = {
    "bonds": 5.4435,
    "angles": 2.8766,
    "torsions": 24.3697,
    "lennard_jones_14": 6.1446,
    "coulomb_14": 20.8049,
    "lennard_jones": 44.3715,
    "coulomb": -101.5565,
}
OPEN = {
    "ala3, CHARMM, no cutoff": ("openmm_systems/ala3_solv.parm7", ".crd", CHARMM_ALA3, 1e-6),
    "ala3, CHARMM22": ("parmed_amber/ala_ala_ala.parm7", ".rst7", CHARMM_22, 5e-5),
    "ash, ff10": ("parmed_amber/ash.parm7", ".rst7", ASH, 5e-5),
}
"""topology, suffix of the coordinates, terms [kcal/mol], gate [kcal/mol]: the digits that are printed"""
SANDER_WATER = {
    "bonds": 12.2920213,
    "angles": 32.3453097,
    "torsions": 96.0811552,
    "lennard_jones_14": 39.146,
    "coulomb_14": 420.5797,
    "Lennard-Jones": 2836.7832,
    "Coulomb": -16222.9037,
    "total": -12785.6764,
}
"""[kcal/mol], PME with a cutoff of 8 angstrom and the long-range correction"""


GROMACS_COULOMB = 138.935485 * 10.0 * units.KJ_PER_MOL_EV
GROMACS: dict[str, tuple[tuple[str, ...], dict[str, float]]] = {
    "01.1water": (("FLEXIBLE",), {"bonds": 1.63805, "angles": 0.014803}),
    "02.6water": ((), {"nonbonded": -108.277803}),
}
"""macros and terms [kJ/mol]: flexible TIP3P, and TIP4P with its site"""


def open_options(constant: float = AMBER_COULOMB) -> Options:
    """Returns the sum over all pairs."""
    return Options(lennard_jones="all", coulomb="all", coulomb_constant=constant)


def terms(system: System, topology: Topology, options: Options, unit: float) -> dict[str, float]:
    """Returns each term in a unit [eV]."""
    pairs = (
        all_pairs if options.coulomb == "all" else lambda system, half: neighbor_list(system, options.cutoff, half=half)
    )
    found = ForceField(topology, options).energies(system, pairs(system, half=True))
    return {name: float(energy.detach()) / unit for name, energy in found.items()}


def references(data: Path | None) -> list[Row]:
    """Returns the rows of the molecules whose terms are known."""
    rows = []
    for case, (name, suffix, expected, gate) in OPEN.items():
        restart = str(Path(name).with_suffix(suffix))
        absent = lacking(case, data, name, restart)
        if absent is not None or data is None:
            rows += [] if absent is None else [absent]
            continue
        system, topology = from_amber(data / name, data / restart, periodic=False, rigid_water=False)
        found = terms(system, topology, open_options(), units.KCAL_PER_MOL_EV)
        for term, reference in expected.items():
            rows.append(absolute(f"{case}: {term}", found[term], reference, gate, "kcal/mol"))
    return rows + _sander_water(data) + _gromacs(data)


def _gromacs(data: Path | None) -> list[Row]:
    """GROMACS ran in single precision, and prints six digits."""
    rows = []
    for folder, (defines, energies) in GROMACS.items():
        case = f"{folder}, by GROMACS"
        names = [f"parmed_gromacs/{folder}/{name}" for name in ("topol.top", "conf.gro", "force.xvg")]
        absent = lacking(case, data, *names)
        if absent is not None or data is None:
            rows += [] if absent is None else [absent]
            continue
        top, gro, theirs = (data / name for name in names)
        system, topology = from_gromacs(top, gro, defines=defines, periodic=False)
        options = open_options(GROMACS_COULOMB)
        found = terms(system, topology, options, units.KJ_PER_MOL_EV)
        found["nonbonded"] = found["lennard_jones"] + found["coulomb"]
        for term, reference in energies.items():
            rows.append(absolute(f"{case}: {term}", found[term], reference, 5e-5, "kJ/mol"))
        forces = differentiate(ForceField(topology, options), system, all_pairs(system, half=True)).forces.numpy()
        expected = numpy.loadtxt(theirs, ndmin=1)[1:].reshape(-1, 3)
        error = numpy.abs(forces * 10.0 / units.KJ_PER_MOL_EV - expected).max() / numpy.abs(expected).max()
        rows.append(below(f"{case}: forces", float(error), 1e-5, "of the largest"))
    return rows


def _sander_water(data: Path | None) -> list[Row]:
    """sander's PME errs by some 4e-5 itself, and it counts atoms differently in the correction: 1e-4."""
    case = "5321 atoms, PME, by sander"
    absent = lacking(case, data, "parmed_amber/solv2.parm7", "parmed_amber/solv2.rst7")
    if absent is not None or data is None:
        return [] if absent is None else [absent]
    folder = data / "parmed_amber"
    system, topology = from_amber(folder / "solv2.parm7", folder / "solv2.rst7", rigid_water=False)
    options = Options(
        cutoff=8.0, coulomb="pme", tolerance=1e-6, long_range_correction=True, coulomb_constant=AMBER_COULOMB
    )
    found = terms(system, topology, options, units.KCAL_PER_MOL_EV)
    whole = {
        **found,
        "Lennard-Jones": found["lennard_jones"] + found["long_range_correction"],
        "Coulomb": sum(value for name, value in found.items() if name.startswith("coulomb_") and name != "coulomb_14"),
        "total": sum(found.values()),
    }
    return [
        relative(f"{case}: {term}", whole[term], reference, 1e-4, "kcal/mol")
        for term, reference in SANDER_WATER.items()
    ]
