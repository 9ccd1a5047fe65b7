"""Extended XYZ, written from the journal of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from sponge.formats.rows import pieces

if TYPE_CHECKING:
    from sponge.trajectory import Topology


def write_extxyz(path: Path, frames: NDArray[Any], topology: Topology) -> None:
    """Writes an extended XYZ file that ASE reads, momenta and potential energy included."""
    import ase
    from ase import units as ase_units
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io.extxyz import write_extxyz as write_frames

    with path.open("w", encoding="utf-8") as file:
        for _, rows in pieces(frames):
            images = []
            for row in rows:
                atoms = ase.Atoms(
                    numbers=topology.atomic_numbers,
                    positions=row["positions"],
                    masses=topology.masses,
                    cell=row["cell"],
                    pbc=topology.periodic,
                    info={"step": int(row["step"]), "time_fs": float(row["time"]), "stage": int(row["stage"])},
                )
                atoms.set_momenta(topology.masses[:, None] * row["velocities"] / ase_units.fs)
                atoms.calc = SinglePointCalculator(atoms, energy=float(row["potential"]))
                images.append(atoms)
            write_frames(file, images)
