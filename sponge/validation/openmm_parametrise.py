"""OpenMM's side of the glycopeptide: parameters of a PDB file by its own force fields; it imports nothing of ours.

It takes the PDB file and a folder, and leaves `system.xml` and the positions [nm], `positions.npy`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np


def main(path: Path, folder: Path, names: list[str]) -> None:
    import openmm
    from openmm import app, unit

    pdb = app.PDBFile(str(path))
    system = app.ForceField(*names).createSystem(pdb.topology, removeCMMotion=False)
    (folder / "system.xml").write_text(openmm.XmlSerializer.serialize(system))
    np.save(folder / "positions.npy", pdb.getPositions(asNumpy=True).value_in_unit(unit.nanometer))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
