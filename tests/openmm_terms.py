"""OpenMM's energies of structures by its force fields: `python openmm_terms.py FOLDER` writes openmm_terms.json.

FOLDER is `biomolecular` of the mirror. It runs in an interpreter that has OpenMM and imports nothing of ours. Reference
platform, no cutoff, flexible water, sites added; kJ/mol. The files are those that OpenMM ships under the same names.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

CASES: dict[str, tuple[str, list[str]]] = {
    "alanine dipeptide, ff14SB": ("peptide_pdb/alad.pdb", ["amber14/protein.ff14SB.xml"]),
    "alanine dipeptide, ff99SB-ILDN": ("peptide_pdb/alad.pdb", ["amber99sbildn.xml"]),
    "alanine tripeptide, ff19SB": ("openmm_systems/ala_ala_ala.pdb", ["amber19/protein.ff19SB.xml"]),
    "dipeptide in water, ff14SB": (
        "openmm_systems/alanine-dipeptide-explicit.pdb",
        ["amber14/protein.ff14SB.xml", "amber14/tip3p.xml"],
    ),
    "216 waters, TIP3P": ("openmmtools/watbox216.pdb", ["amber14/tip3p.xml"]),
    "216 waters, TIP4P-Ew": ("openmmtools/watbox216.pdb", ["amber14/tip4pew.xml"]),
    "216 waters, SPC/E": ("openmmtools/watbox216.pdb", ["amber14/spce.xml"]),
    "DHFR, ff14SB": ("openmm_systems/5dfr_minimized.pdb", ["amber14/protein.ff14SB.xml"]),
    "DHFR, ff19SB": ("openmm_systems/5dfr_minimized.pdb", ["amber19/protein.ff19SB.xml"]),
}


def energies(path: Path, names: list[str]) -> dict[str, Any]:
    """Returns the energy of each force [kJ/mol] and the number of particles."""
    import openmm
    from openmm import app, unit

    pdb, force_field = app.PDBFile(str(path)), app.ForceField(*names)
    modeller = app.Modeller(pdb.topology, pdb.positions)
    modeller.addExtraParticles(force_field)
    system = force_field.createSystem(modeller.topology, rigidWater=False, removeCMMotion=False)
    for number, force in enumerate(system.getForces()):
        force.setForceGroup(number)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(1e-3), platform)
    context.setPositions(modeller.positions)
    context.computeVirtualSites()
    found: dict[str, Any] = {"particles": system.getNumParticles()}
    for number, force in enumerate(system.getForces()):
        energy = context.getState(getEnergy=True, groups={number}).getPotentialEnergy()
        found[force.getName()] = energy.value_in_unit(unit.kilojoule_per_mole)
    return found


def main(folder: Path) -> None:
    import openmm

    rows = [
        {"case": case, "structure": structure, "force_field": names, "energies": energies(folder / structure, names)}
        for case, (structure, names) in CASES.items()
    ]
    written = {"openmm": openmm.version.full_version, "made_by": "tests/openmm_terms.py", "cases": rows}
    Path(__file__).with_suffix(".json").write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
