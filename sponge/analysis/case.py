"""The task "sponge/analyse": what a trajectory file tells, as tables, pictures and figures; also after a run."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from mindsci.config import Case, InputFile, Quantity, Table
from mindsci.runs import Folder, Run
from sponge.analysis import report
from sponge.analysis.frames import Trajectory
from sponge.analysis.motion import mean_square_displacement
from sponge.analysis.radial import radial_distribution
from sponge.analysis.reading import read_trajectory
from sponge.analysis.spectrum import vibrational_spectrum


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

    def analyse(self, trajectory: Trajectory, folder: Folder) -> dict[str, Any]:
        """Writes the tables and pictures asked for, and returns the figures."""
        limits = {"first": self.after, "last": self.before}
        kept = trajectory.between(**{name: value for name, value in limits.items() if value is not None})
        found: dict[str, Any] = {"frames analysed": kept.n_frames}
        if self.radial is not None:
            found |= report.write_radial(folder, radial_distribution(kept, **dict(self.radial)))
        if self.displacement is not None:
            table = self.displacement
            fit = None if table.fit_from is None or table.fit_to is None else (table.fit_from, table.fit_to)
            options = {"blocks": table.blocks, "unwrap": table.unwrap, "remove_drift": table.remove_drift}
            found |= report.write_displacement(folder, mean_square_displacement(kept, fit=fit, **options))
        if self.spectrum is not None:
            found |= report.write_spectrum(folder, vibrational_spectrum(kept, longest=self.spectrum.longest))
        return found


class AnalyseCase(Case, AnalysisTable):
    """The whole case file: the trajectory, and the tables of `AnalysisTable`."""

    trajectory: InputFile
    structure: InputFile | None = None
    """of the same atoms, for DCD and XTC, which hold no elements"""

    def run(self, run: Run) -> None:
        """Analyses the file."""
        run.results(self.analyse(read_trajectory(self.trajectory, structure=self.structure), run))
