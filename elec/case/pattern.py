"""The far field of a run: directivity, gain and efficiency of the driven port, cuts of its pattern."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from numpy import ndarray

from elec.case.march import Column
from elec.case.model import Model
from elec.observables import Surface, far_field, radiated_power, sphere_directions
from mindsci.tree import Tree
from mindsci.units import SPEED_OF_LIGHT

if TYPE_CHECKING:
    from elec.case.antenna import AntennaCase

CUTS = (0.0, 90.0)
"""Azimuths of the cuts [deg]."""
# Rounding, and what a run that is cut off leaves out, may exceed one by this much.
LARGEST_EFFICIENCY = 1.05
LEAST_RINGS = 24


class Pattern(Tree):
    """What an antenna radiates at one frequency, one port driven."""

    frequency: float
    """[Hz]"""
    directivity: float
    """the largest in any direction [dBi]"""
    gain: float
    """against the power that the ports take [dBi]"""
    realised_gain: float
    """against the power that comes to the driven port [dBi]"""
    efficiency: float
    """radiated over accepted power"""
    theta: Float[ndarray, "angles"]
    """from z, negative on the far side of the cut [deg]"""
    phi: tuple[float, ...]
    """of the cuts [deg]"""
    cuts: tuple[Float[ndarray, "angles"], ...]
    """directivity [dBi]"""


def patterns(case: AntennaCase, model: Model, column: Column, driven: int) -> list[Pattern]:
    """Returns the patterns at the case's far-field frequencies."""
    surface, wanted = model.surface, case.far_field.frequencies
    if surface is None:
        return []
    index = [model.monitors.frequencies.index(frequency) for frequency in wanted]
    spectra = [part[index] for part in model.monitors.unpack(column.spectra.cpu().to(torch.float64))[1:]]
    frequencies = torch.tensor(wanted, dtype=torch.float64)
    rings = rings_of(surface, max(wanted))
    sphere = sphere_directions(rings, 2 * rings)
    radiated = radiated_power(surface, spectra)
    everywhere = far_field(surface, spectra, wanted, model.dt, sphere.theta, sphere.phi).gain(radiated)
    theta = torch.linspace(-180.0, 180.0, 361, dtype=torch.float64)
    angles = torch.stack([theta.abs().deg2rad()] * len(CUTS))
    turned = torch.tensor(CUTS, dtype=torch.float64).deg2rad()[:, None] + math.pi * (theta < 0)
    cuts = far_field(surface, spectra, wanted, model.dt, angles, turned).gain(radiated)
    rows = model.rows(column.records[:, : column.n_steps].cpu())
    incident, accepted = torch.zeros_like(radiated), torch.zeros_like(radiated)
    for number, (port, part) in enumerate(zip(model.ports, rows, strict=True)):
        a, b = port.waves(part, model.dt, frequencies, driven=number == driven)
        copies = port.copies(model.grid, surface.walls)
        accepted = accepted + copies * (a.abs() ** 2 - b.abs() ** 2)
        incident = incident + copies * a.abs() ** 2 * float(number == driven)
    found = []
    for i, frequency in enumerate(wanted):
        peak = max(float(everywhere[i].max()), float(cuts[i].max()))
        # What a run that is cut short leaves out of the ports' records is no gain.
        efficiency = float(radiated[i] / accepted[i])
        told = 0.0 < efficiency <= LARGEST_EFFICIENCY
        efficiency = efficiency if told else math.nan
        realised = float(radiated[i] / incident[i]) if told else math.nan
        found.append(
            Pattern(
                frequency=frequency,
                directivity=decibels(peak),
                gain=decibels(peak * efficiency),
                realised_gain=decibels(peak * realised),
                efficiency=efficiency,
                theta=theta.numpy(),
                phi=CUTS,
                cuts=tuple(10.0 * cut.clamp(min=1e-12).log10().numpy() for cut in cuts[i]),
            )
        )
    return found


def rings_of(surface: Surface, frequency: float) -> int:
    """Returns the rings of directions that show all that a surface of that size can radiate at a frequency [Hz]."""
    size = math.dist(
        *([float(surface.grid.nodes(axis)[node[axis]]) for axis in range(3)] for node in (surface.low, surface.high))
    )
    return max(LEAST_RINGS, math.ceil(2.0 * math.pi * frequency / SPEED_OF_LIGHT * size) + 10)


def decibels(power: float) -> float:
    """Returns a ratio of powers in decibels."""
    return 10.0 * math.log10(max(power, 1e-12)) if math.isfinite(power) else math.nan
