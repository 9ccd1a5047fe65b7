"""A glycopeptide of ff14SB and GLYCAM, whose parameters OpenMM assigns and whose terms ParmEd has printed."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy

from mindsci import units
from mindsci.report import Row
from sponge.builders.openmm_system import NANOMETRE, from_openmm_system
from sponge.validation.openmm_peer import COULOMB, interpreter_of, run_script
from sponge.validation.references import open_options, terms
from sponge.validation.rows import absolute, lacking, not_run

PDB = "openmm_systems/glycopeptide.pdb"
FORCE_FIELDS = ("amber14/protein.ff14SB.xml", "amber14/GLYCAM_06j-1.xml")
PARMED = {
    "bonds": (32.14082401, 1e-4),
    "angles": (48.92017456, 1e-3),
    "torsions": (291.61241586, 1e-4),
    "nonbonded": (1547.01126780, 1e-4),
    "total": (1919.68468223, 1e-3),
}
"""[kJ/mol], and the gate; that of the total is that of its angles"""


def glycopeptide(data: Path | None, python: str = "") -> list[Row]:
    """Returns a row of each term; without OpenMM, or without the data, one that says so."""
    case = "glycopeptide, ff14SB and GLYCAM"
    absent = lacking(case, data, PDB)
    if absent is not None or data is None:
        return [] if absent is None else [absent]
    interpreter = interpreter_of(python)
    if not interpreter:
        return [not_run(case, "1e-4 kJ/mol", "no OpenMM: pip install openmm, or give --peer-python")]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run_script(interpreter, "openmm_parametrise.py", [str((data / PDB).resolve()), name, *FORCE_FIELDS], folder)
        positions = NANOMETRE * numpy.load(folder / "positions.npy")
        system, topology = from_openmm_system(folder / "system.xml", positions)
    found = terms(system, topology, open_options(COULOMB), units.KJ_PER_MOL_EV)
    found["total"] = sum(found.values())
    nonbonded = ("lennard_jones", "coulomb", "lennard_jones_14", "coulomb_14")
    found["nonbonded"] = sum(found[term] for term in nonbonded)
    return [
        absolute(f"{case}: {term}", found[term], reference, gate, "kJ/mol")
        for term, (reference, gate) in PARMED.items()
    ]
