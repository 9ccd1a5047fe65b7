"""Capped aspartic acid in implicit solvents, as sander has it."""

from __future__ import annotations

from pathlib import Path

from mindsci import tree, units
from mindsci.report import Row
from sponge.builders import from_amber, with_born_radii
from sponge.validation.references import open_options, terms
from sponge.validation.rows import absolute, lacking

SANDER = {
    "hct": (-26.4850, -26.5051),
    "obc1": (-28.1689, -28.1895),
    "obc2": (-25.4639, -25.4835),
    "gbn": (-21.1012, -21.1194),
    "gbn2": (-23.4639, -23.4832),
}
"""energy with the solvent, without salt and with 1 mol/l [kcal/mol]: what the whole nonbonded energy has beyond that of
the gas, -30.2355"""
FILES = ("parmed_amber/ash.parm7", "parmed_amber/ash.rst7")


def ash_energy(data: Path, model: str, salt: float) -> float:
    """Returns the energy with the solvent [kcal/mol]; models of necks have the radii of mbondi3, others the file's."""
    system, topology = from_amber(data / FILES[0], data / FILES[1], periodic=False, rigid_water=False)
    if model in ("gbn", "gbn2"):
        topology = with_born_radii(topology, system.atomic_numbers, "mbondi3")
    options = tree.replace(open_options(), implicit_solvent=model, salt=salt)
    return terms(system, topology, options, units.KCAL_PER_MOL_EV)["generalised_born"]


def solvent(data: Path | None) -> list[Row]:
    """Returns a row of each model and concentration."""
    absent = lacking("ash in implicit solvents", data, *FILES)
    if absent is not None or data is None:
        return [] if absent is None else [absent]
    return [
        absolute(
            f"ash in {model}, salt {salt:g} mol/l",
            ash_energy(data, model, salt),
            SANDER[model][place],
            5e-5,
            "kcal/mol",
        )
        for model in SANDER
        for place, salt in enumerate((0.0, 1.0))
    ]
