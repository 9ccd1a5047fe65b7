"""What the fields of sources come to: patterns of dipoles, cross-sections in a plane wave, widths of beams."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Complex, Float
from numpy import ndarray
from torch import Tensor

from elec.case.pattern import CUTS, Pattern, decibels, rings_of
from elec.case.source_model import SourceModel
from elec.case.sources import PlacedSource
from elec.fdtd.harmonics import transverse, unit_vector
from elec.fields import cell_average
from elec.observables import (
    FarField,
    far_field,
    radar_cross_section,
    radiated_power,
    scattering_cross_section,
    sphere_directions,
)
from mindsci.tree import Tree

if TYPE_CHECKING:
    from elec.case.fields import FieldsCase

Spectra = Sequence[Complex[Tensor, "f 3 _ _ _"]]


class Radiated(Tree):
    """What dipoles radiate at one frequency."""

    pattern: Pattern
    power: float
    """for a sine of the sources' amplitudes [W]"""


class CrossSection(Tree):
    """What a plane wave is scattered into at one frequency."""

    frequency: float
    """[Hz]"""
    back: float
    """towards where the wave comes from: the monostatic radar cross-section [m^2]"""
    forward: float
    """bistatic, on along the wave [m^2]"""
    scattering: float
    """scattered power over the power density of the wave [m^2]"""
    angle: Float[ndarray, "angles"]
    """from the direction of travel [deg]"""
    electric_plane: Float[ndarray, "angles"]
    """bistatic, in the plane of travel and electric field [m^2]"""
    magnetic_plane: Float[ndarray, "angles"]
    """bistatic, in the plane across the electric field [m^2]"""


class Profile(Tree):
    """Width of a beam along its way at one frequency."""

    frequency: float
    """[Hz]"""
    distance: Float[ndarray, "planes"]
    """from the focus, along the beam [m]"""
    radius: Float[ndarray, "planes"]
    """sqrt(2 <r^2>) of |E|^2, that at which a Gaussian has fallen to 1 / e [m]"""
    paraxial: Float[ndarray, "planes"]
    """waist sqrt(1 + (z / z_R)^2) [m]"""


def radiated(case: FieldsCase, model: SourceModel, boxes: Spectra) -> list[Radiated]:
    """Returns the patterns of dipoles at the case's far-field frequencies."""
    surface, wanted = model.setting.surface, case.far_field.frequencies
    if surface is None:
        return []
    spectra = _of_surface(case, model, boxes)
    rings = rings_of(surface, max(wanted))
    sphere = sphere_directions(rings, 2 * rings)
    power = radiated_power(surface, spectra)
    everywhere = _far(case, model, spectra, sphere.theta, sphere.phi).gain(power)
    theta = torch.linspace(-180.0, 180.0, 361, dtype=torch.float64)
    angles = torch.stack([theta.abs().deg2rad()] * len(CUTS))
    turned = torch.tensor(CUTS, dtype=torch.float64).deg2rad()[:, None] + math.pi * (theta < 0)
    cuts = _far(case, model, spectra, angles, turned).gain(power)
    found = []
    for i, frequency in enumerate(wanted):
        pattern = Pattern(
            frequency=frequency,
            directivity=decibels(max(float(everywhere[i].max()), float(cuts[i].max()))),
            gain=math.nan,
            realised_gain=math.nan,
            efficiency=math.nan,
            theta=theta.numpy(),
            phi=CUTS,
            cuts=tuple(10.0 * cut.clamp(min=1e-12).log10().numpy() for cut in cuts[i]),
        )
        found.append(Radiated(pattern=pattern, power=float(power[i])))
    return found


def cross_sections(case: FieldsCase, model: SourceModel, boxes: Spectra) -> list[CrossSection]:
    """Returns the cross-sections in the case's plane wave at its far-field frequencies."""
    surface, wanted, (source,) = model.setting.surface, case.far_field.frequencies, model.sources
    if surface is None:
        return []
    spectra = _of_surface(case, model, boxes)
    # The boxes hold fields for a sine of one: the incident wave is the source's amplitude.
    incident = torch.full((len(wanted),), complex(source.table.amplitude), dtype=torch.complex128)
    u = unit_vector(source.table.direction, "direction")
    p = transverse(source.table.polarisation, u)
    angle = torch.linspace(-180.0, 180.0, 361, dtype=torch.float64)
    around = angle.deg2rad()[:, None]
    cuts = []
    for across in (p, torch.linalg.cross(u, p)):
        theta, phi = _angles(around.cos() * u + around.sin() * across)
        cuts.append(radar_cross_section(_far(case, model, spectra, theta, phi), incident))
    rings = rings_of(surface, max(wanted))
    sphere = sphere_directions(rings, 2 * rings)
    scattered = scattering_cross_section(_far(case, model, spectra, sphere.theta, sphere.phi), incident, sphere)
    return [
        CrossSection(
            frequency=frequency,
            back=float(cuts[0][i, 0]),
            forward=float(cuts[0][i, len(angle) // 2]),
            scattering=float(scattered[i]),
            angle=angle.numpy(),
            electric_plane=cuts[0][i].numpy(),
            magnetic_plane=cuts[1][i].numpy(),
        )
        for i, frequency in enumerate(wanted)
    ]


def profiles(case: FieldsCase, model: SourceModel, source: PlacedSource, boxes: Spectra) -> list[Profile]:
    """Returns the widths of a beam in the planes across its axis, at the frequencies of the fields' volume."""
    if source.beam is None or not case.fields.frequencies:
        return []
    grid, box, axis = model.grid, model.setting.monitors.boxes[0], source.table.axis
    u, focus = source.beam.axes[0], torch.tensor(source.beam.focus, dtype=torch.float64)
    lines = [grid.nodes(a)[box.low[a] : box.high[a]].to("cpu", torch.float64) for a in range(3)]
    x, y, z = torch.meshgrid(*map(_middles, lines), indexing="ij")
    widths = [line.diff() for line in lines]
    places = torch.stack([x, y, z], dim=-1) - focus
    along = places @ u
    aside = (places.square().sum(-1) - along.square()).clamp(min=0.0)
    others = [a for a in range(3) if a != axis]
    area = widths[others[0]][:, None] * widths[others[1]]
    found = []
    for i, frequency in enumerate(case.fields.frequencies):
        intensity = cell_average(boxes[0][i]).abs().square().sum(0).movedim(axis, 0) * area
        total = intensity.sum((1, 2))
        radius = (2.0 * (intensity * aside.movedim(axis, 0)).sum((1, 2)) / total).sqrt()
        distance = (_middles(lines[axis]) - focus[axis]) / float(u[axis])
        paraxial = [source.beam.radius(float(one), frequency) for one in distance]
        found.append(
            Profile(
                frequency=frequency,
                distance=distance.numpy(),
                radius=radius.numpy(),
                paraxial=torch.tensor(paraxial, dtype=torch.float64).numpy(),
            )
        )
    return found


def _middles(line: Tensor) -> Tensor:
    return 0.5 * (line[1:] + line[:-1])


def _of_surface(case: FieldsCase, model: SourceModel, boxes: Spectra) -> list[Tensor]:
    """The spectra of the far field's surface at its frequencies."""
    index = [model.setting.monitors.frequencies.index(frequency) for frequency in case.far_field.frequencies]
    return [box[index] for box in boxes[1:]]


def _far(case: FieldsCase, model: SourceModel, spectra: Sequence[Tensor], theta: Tensor, phi: Tensor) -> FarField:
    assert model.setting.surface is not None
    permittivity, permeability = model.background
    return far_field(
        model.setting.surface,
        spectra,
        case.far_field.frequencies,
        model.setting.dt,
        theta,
        phi,
        permittivity=permittivity,
        permeability=permeability,
    )


def _angles(directions: Float[Tensor, "n 3"]) -> tuple[Float[Tensor, "n"], Float[Tensor, "n"]]:
    """Theta and phi of directions of unit length."""
    return directions[:, 2].clamp(-1.0, 1.0).acos(), torch.atan2(directions[:, 1], directions[:, 0])
