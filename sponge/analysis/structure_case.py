"""Tables of an analysis that look at structure: what each asks for, writes and finds."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from pydantic import Field

from mindsci.config import InputFile, Quantity, Table
from mindsci.runs import Folder
from sponge.analysis.alignment import deviations
from sponge.analysis.bulk import density, dielectric_constant
from sponge.analysis.dihedrals import dihedral_angles
from sponge.analysis.frames import Trajectory
from sponge.analysis.hydrogen_bonds import hydrogen_bonds
from sponge.analysis.report import figure
from sponge.builders.molecules import from_file

PICOSECOND = 1e-3


class DensityTable(Table):
    """`[density]`: mean density."""

    blocks: int = Field(default=5, ge=2)

    def analyse(self, trajectory: Trajectory, folder: Folder) -> dict[str, Any]:
        """Writes density.csv."""
        found = density(trajectory, blocks=self.blocks)
        folder.table("density.csv", {"time [fs]": trajectory.time, "density [g/cm^3]": found.series}, digits=10)
        return {"density [g/cm^3]": found.value, "density standard error [g/cm^3]": found.error}


class DielectricTable(Table):
    """`[dielectric]`: static dielectric constant from the fluctuation of the dipole moment, in sums by Ewald or PME."""

    temperature: Quantity("K")
    blocks: int = Field(default=5, ge=2)

    def analyse(self, trajectory: Trajectory, folder: Folder) -> dict[str, Any]:
        """Writes dielectric.csv, how the value settles."""
        found = dielectric_constant(trajectory, temperature=self.temperature, blocks=self.blocks)
        folder.table("dielectric.csv", {"time [fs]": trajectory.time, "up to here": found.running}, digits=10)
        return {"dielectric constant": found.value, "dielectric constant standard error": found.error}


class HydrogenBondTable(Table):
    """`[hydrogen_bonds]`: bonds D-H...A with D, A of nitrogen, oxygen, fluorine."""

    distance: Quantity("angstrom") = "3.5 angstrom"
    """from D to A"""
    angle: Quantity("rad") = "30 degree"
    """A-D-H"""

    def analyse(self, trajectory: Trajectory, folder: Folder) -> dict[str, Any]:
        """Writes hydrogen_bonds.csv."""
        found = hydrogen_bonds(trajectory, distance=self.distance, angle=self.angle)
        folder.table("hydrogen_bonds.csv", {"time [fs]": trajectory.time, "number": found.count.double()}, digits=10)
        return {
            "hydrogen bonds, mean number": float(found.count.double().mean()),
            "hydrogen bonds for each hydrogen of a donor": found.per_donor,
        }


class DeviationTable(Table):
    """`[rmsd]`: deviation from a structure after the best fit, and fluctuation of each atom."""

    atoms: Literal["all", "heavy"] | list[int] = "heavy"
    """all, all but hydrogens, or numbers counted from 0"""
    first: int = Field(default=0, ge=0)
    last: int | None = Field(default=None, ge=0)
    """the atoms among which these are, counted from 0: a protein without its water"""
    reference: InputFile | None = None
    """the first frame unless given"""

    def analyse(self, trajectory: Trajectory, folder: Folder) -> dict[str, Any]:
        """Writes rmsd.csv, rmsf.csv and rmsd.png."""
        number = torch.arange(trajectory.n_atoms)
        chosen = (number >= self.first) & (number <= (trajectory.n_atoms if self.last is None else self.last))
        if self.atoms == "heavy":
            chosen = chosen & (trajectory.atomic_numbers > 1)
        elif isinstance(self.atoms, list):
            chosen = chosen & torch.isin(number, torch.tensor(self.atoms))
        reference = None if self.reference is None else from_file(self.reference).positions
        found = deviations(trajectory, atoms=chosen, reference=reference)
        numbers = chosen.nonzero().flatten().double()
        folder.table("rmsd.csv", {"time [fs]": trajectory.time, "rmsd [angstrom]": found.deviation}, digits=10)
        folder.table("rmsf.csv", {"atom": numbers, "rmsf [angstrom]": found.fluctuation}, digits=10)
        with figure(folder, "rmsd.png", 2, sharex=False) as (over_time, of_atoms):
            over_time.plot(PICOSECOND * trajectory.time, found.deviation, lw=1.0)
            over_time.set(xlabel="time [ps]", ylabel="RMSD [Å]")
            of_atoms.plot(numbers, found.fluctuation, lw=1.0)
            of_atoms.set(xlabel="atom", ylabel="RMSF [Å]")
        return {
            "rmsd mean [angstrom]": float(found.deviation.mean()),
            "rmsd at the end [angstrom]": float(found.deviation[-1]),
            "rmsf largest [angstrom]": float(found.fluctuation.max()),
        }


class DihedralTable(Table):
    """`[dihedrals]`: distributions of dihedral angles; of two, such as phi and psi, a map."""

    atoms: list[tuple[int, int, int, int]] = Field(min_length=1)
    """counted from 0"""
    bins: int = Field(default=72, ge=4)

    def analyse(self, trajectory: Trajectory, folder: Folder) -> dict[str, Any]:
        """Writes dihedrals.csv (angles over time), dihedral_densities.csv and dihedrals.png."""
        found = dihedral_angles(trajectory, torch.tensor(self.atoms), bins=self.bins)
        names = ["-".join(map(str, four)) for four in self.atoms]
        degrees = found.angles * 180.0 / math.pi
        series = {f"{name} [degree]": degrees[:, k] for k, name in enumerate(names)}
        folder.table("dihedrals.csv", {"time [fs]": trajectory.time} | series, digits=8)
        centres = found.centres * 180.0 / math.pi
        densities = {f"{name} [1/degree]": found.density[k] * math.pi / 180.0 for k, name in enumerate(names)}
        folder.table("dihedral_densities.csv", {"angle [degree]": centres} | densities, digits=8)
        with figure(folder, "dihedrals.png", 2, sharex=False) as (lines, plane):
            for name, values in densities.items():
                lines.plot(centres, values, label=name, lw=1.0)
            lines.set(xlabel="angle [degree]", ylabel="density [1/degree]", xlim=(-180, 180))
            lines.legend(loc="best", fontsize="small")
            if len(names) > 1:
                together = (found.joint().T * (math.pi / 180.0) ** 2).numpy()
                plane.imshow(together, origin="lower", extent=(-180, 180, -180, 180), cmap="magma_r", aspect="auto")
                plane.set(xlabel=f"{names[0]} [degree]", ylabel=f"{names[1]} [degree]")
            else:
                plane.plot(PICOSECOND * trajectory.time, degrees[:, 0], ".", ms=2)
                plane.set(xlabel="time [ps]", ylabel=f"{names[0]} [degree]")
        return {
            f"dihedral {name} likeliest [degree]": float(centres[found.density[k].argmax()])
            for k, name in enumerate(names)
        }
