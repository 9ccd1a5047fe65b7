"""What trajectories tell: structure, diffusion and vibrations."""

from sponge.analysis.alignment import Deviation, deviations, superposed
from sponge.analysis.bulk import Dielectric, Mean, density, dielectric_constant, dipoles
from sponge.analysis.dihedrals import Dihedrals, backbone_dihedrals, dihedral_angles
from sponge.analysis.frames import Trajectory, unwrapped
from sponge.analysis.hydrogen_bonds import HydrogenBonds, hydrogen_bonds
from sponge.analysis.motion import Displacement, finite_size_correction, mean_square_displacement
from sponge.analysis.radial import Radial, RadialCounts, radial_distribution
from sponge.analysis.reading import read_pieces, read_trajectory
from sponge.analysis.spectrum import (
    Correlation,
    Spectrum,
    peaks,
    velocity_autocorrelation,
    vibrational_spectrum,
)

__all__ = [
    "Correlation",
    "Deviation",
    "Dielectric",
    "Dihedrals",
    "Displacement",
    "HydrogenBonds",
    "Mean",
    "Radial",
    "RadialCounts",
    "Spectrum",
    "Trajectory",
    "backbone_dihedrals",
    "density",
    "deviations",
    "dielectric_constant",
    "dihedral_angles",
    "dipoles",
    "finite_size_correction",
    "hydrogen_bonds",
    "mean_square_displacement",
    "peaks",
    "radial_distribution",
    "read_pieces",
    "read_trajectory",
    "superposed",
    "unwrapped",
    "velocity_autocorrelation",
    "vibrational_spectrum",
]
