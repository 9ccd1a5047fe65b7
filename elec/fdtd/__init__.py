"""Finite-difference time-domain solver: reference flows in torch, fused steps for CPU (Numba) and CUDA (Triton)."""

from elec.fdtd.absorber import Absorber, Stretch, absorbing_layers
from elec.fdtd.beam_sheet import beam_sources
from elec.fdtd.flows import Ampere, Faraday, Probe
from elec.fdtd.gaussian_beam import GaussianBeam
from elec.fdtd.lumped import Circuit, LumpedElement
from elec.fdtd.media import Media, outer_walls, padded, scene_media, uniform_media
from elec.fdtd.poles import Poles, join_poles
from elec.fdtd.port import VoltagePort, spectrum
from elec.fdtd.probes import Box, Monitors, Probes, join_probes, point_probe
from elec.fdtd.sources import Source, current_moment, dipole
from elec.fdtd.step import YeeStep, yee_step
from elec.fdtd.undone import between_layers
from elec.fdtd.walls import Walls
from elec.fdtd.waveforms import ContinuousWave, Gaussian, GaussianDerivative, ModulatedGaussian, Ricker, Samples
from elec.fdtd.wire import ThinWire

__all__ = [
    "Absorber",
    "Ampere",
    "Box",
    "Circuit",
    "ContinuousWave",
    "Faraday",
    "Gaussian",
    "GaussianBeam",
    "GaussianDerivative",
    "LumpedElement",
    "Media",
    "ModulatedGaussian",
    "Monitors",
    "Poles",
    "Probe",
    "Probes",
    "Ricker",
    "Samples",
    "Source",
    "Stretch",
    "ThinWire",
    "VoltagePort",
    "Walls",
    "YeeStep",
    "absorbing_layers",
    "beam_sources",
    "between_layers",
    "current_moment",
    "dipole",
    "join_poles",
    "join_probes",
    "outer_walls",
    "padded",
    "point_probe",
    "scene_media",
    "spectrum",
    "uniform_media",
    "yee_step",
]
