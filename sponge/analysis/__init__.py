"""What trajectories tell: structure, diffusion and vibrations."""

from sponge.analysis.frames import Trajectory, unwrapped
from sponge.analysis.motion import Displacement, mean_square_displacement
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
    "Displacement",
    "Radial",
    "RadialCounts",
    "Spectrum",
    "Trajectory",
    "mean_square_displacement",
    "peaks",
    "radial_distribution",
    "read_pieces",
    "read_trajectory",
    "unwrapped",
    "velocity_autocorrelation",
    "vibrational_spectrum",
]
