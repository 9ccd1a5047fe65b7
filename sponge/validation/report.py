"""The report of `mindsci validate md`."""

from __future__ import annotations

from pathlib import Path

from mindsci.errors import InputError
from mindsci.hub.settings import Settings
from mindsci.report import Report
from sponge.validation.derivatives import derivatives
from sponge.validation.glycopeptide import glycopeptide
from sponge.validation.lattices import lattices
from sponge.validation.liquids import liquids
from sponge.validation.nist import nist
from sponge.validation.openmm_peer import openmm
from sponge.validation.references import references
from sponge.validation.solvent import solvent

PARTS = {
    "nist": nist,
    "lattices": lattices,
    "references": references,
    "solvent": solvent,
    "derivatives": derivatives,
    "liquids": liquids,
}


def md(only: str = "", data: str = "", peer_python: str = "") -> Report:
    """Energies, forces and virials of force fields against published numbers, differences and OpenMM.

    only: parts to run, of nist, lattices, references, solvent, derivatives, liquids (minutes), openmm, glycopeptide,
    with commas between. data: folder of reference files; biomolecular/ of MINDSCI_MIRROR unless given. peer_python: an
    interpreter that has OpenMM; ours unless given. What cannot be run has no verdict, and the exit status is 2.
    """
    peers = {"openmm": openmm, "glycopeptide": glycopeptide}
    chosen = [name.strip() for name in only.split(",")] if only else [*PARTS, *peers]
    unknown = [name for name in chosen if name not in (*PARTS, *peers)]
    if unknown:
        raise InputError(f"--only {unknown[0]}: no such part; use one of {', '.join((*PARTS, *peers))}")
    folder = _folder(data)
    rows = []
    for name in chosen:
        rows += peers[name](folder, peer_python) if name in peers else PARTS[name](folder)
    return Report(name="md", rows=rows)


def _folder(data: str) -> Path | None:
    if data:
        if not Path(data).is_dir():
            raise InputError(f"--data {data} is not a folder; give the one that holds nist_reference/ and its kin")
        return Path(data)
    mirror = Settings.from_environment().mirror_folder
    folder = None if mirror is None else mirror / "biomolecular"
    return folder if folder is not None and folder.is_dir() else None
