"""The task "sponge/analyse": what a trajectory file tells, as tables, pictures and figures; also after a run."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from mindsci.config import Case, InputFile, Quantity, Table
from mindsci.runs import Folder, Run
from sponge.analysis import report
from sponge.analysis.bulk import volumes
from sponge.analysis.frames import Trajectory
from sponge.analysis.motion import SQUARE_CM_PER_SECOND, finite_size_correction, mean_square_displacement
from sponge.analysis.radial import radial_distribution
from sponge.analysis.reading import read_trajectory
from sponge.analysis.spectrum import vibrational_spectrum
from sponge.analysis.structure_case import (
    DensityTable,
    DeviationTable,
    DielectricTable,
    DihedralTable,
    HydrogenBondTable,
)


class RadialTable(Table):
    """`[radial]`: radial distribution functions."""

    cutoff: Quantity("angstrom") = "8 angstrom"
    bins: int = Field(default=200, ge=1)
    pairs: list[tuple[str, str]] | None = None
    """such as [["O", "O"], ["O", "H"]]; all unless given"""
    volume: Quantity("angstrom^3") | None = None
    """of a system without a cell"""


class DisplacementTable(Table):
    """`[displacement]`: mean square displacement and diffusion coefficient."""

    fit_from: Quantity("fs") | None = None
    fit_to: Quantity("fs") | None = None
    blocks: int = Field(default=5, ge=2)
    unwrap: bool = False
    remove_drift: bool = True
    viscosity: Quantity("eV*fs/angstrom^3") | None = None
    """of the liquid, such as "0.9 mPa*s"; with `temperature` it corrects for the size of a cubic box"""
    temperature: Quantity("K") | None = None

    @model_validator(mode="after")
    def _corrects_with_both(self) -> Self:
        if (self.viscosity is None) != (self.temperature is None):
            raise ValueError("viscosity and temperature correct for the size of the box together; give both")
        return self

    def analyse(self, trajectory: Trajectory, folder: Folder) -> dict[str, Any]:
        """Writes the displacement, and returns diffusion coefficients, corrected where that is asked for."""
        fit = None if self.fit_from is None or self.fit_to is None else (self.fit_from, self.fit_to)
        options = {"blocks": self.blocks, "unwrap": self.unwrap, "remove_drift": self.remove_drift}
        found = mean_square_displacement(trajectory, fit=fit, **options)
        figures = report.write_displacement(folder, found)
        if self.viscosity is None or self.temperature is None:
            return figures
        edge = float(volumes(trajectory).mean()) ** (1 / 3)
        missing = finite_size_correction(temperature=self.temperature, viscosity=self.viscosity, length=edge)
        for name, value in zip(found.groups, found.diffusion, strict=True):
            figures[f"D({name}) without the box's effect [cm^2/s]"] = SQUARE_CM_PER_SECOND * (float(value) + missing)
        return figures


class SpectrumTable(Table):
    """`[spectrum]`: vibrational spectrum from the velocities."""

    longest: Quantity("fs") | None = None
    """lag of the autocorrelation; half the trajectory unless given"""


class AnalysisTable(Table):
    """What is analysed, and of which frames."""

    after: Quantity("fs") | None = None
    before: Quantity("fs") | None = None
    radial: RadialTable | None = None
    displacement: DisplacementTable | None = None
    spectrum: SpectrumTable | None = None
    density: DensityTable | None = None
    dielectric: DielectricTable | None = None
    hydrogen_bonds: HydrogenBondTable | None = None
    rmsd: DeviationTable | None = None
    dihedrals: DihedralTable | None = None

    def analyse(self, trajectory: Trajectory, folder: Folder) -> dict[str, Any]:
        """Writes the tables and pictures asked for, and returns the figures."""
        limits = {"first": self.after, "last": self.before}
        kept = trajectory.between(**{name: value for name, value in limits.items() if value is not None})
        found: dict[str, Any] = {"frames analysed": kept.n_frames}
        if self.radial is not None:
            found |= report.write_radial(folder, radial_distribution(kept, **dict(self.radial)))
        if self.spectrum is not None:
            found |= report.write_spectrum(folder, vibrational_spectrum(kept, longest=self.spectrum.longest))
        for table in (self.displacement, self.density, self.dielectric, self.hydrogen_bonds, self.rmsd, self.dihedrals):
            if table is not None:
                found |= table.analyse(kept, folder)
        return found


class AnalyseCase(Case, AnalysisTable):
    """The whole case file: the trajectory, and the tables of `AnalysisTable`."""

    trajectory: InputFile
    structure: InputFile | None = None
    """of the same atoms, for DCD and XTC, which hold no elements"""

    def run(self, run: Run) -> None:
        """Analyses the file."""
        run.results(self.analyse(read_trajectory(self.trajectory, structure=self.structure), run))
