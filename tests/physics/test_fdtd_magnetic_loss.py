"""Magnetic loss: a slab of a material with mu_r = 2 and magnetic conductivity, and an absorber matched to vacuum.

A line of impedance Z = sqrt((s mu + sigma*) / (s epsilon + sigma)) eta0 and propagation gamma of length d between two
lines of vacuum: r = q (1 - e) / (1 - q^2 e), t = (1 - q^2) p / (1 - q^2 e), q = (Z - 1) / (Z + 1), p = exp(-gamma d),
e = p^2 [Pozar2012, sec. 2.4]. The scheme is of second order, so the error must fall as the square of the cell. Where
sigma* / mu = sigma / epsilon and mu_r = epsilon_r the impedance is that of vacuum at every frequency: nothing comes
back, and exp(-sigma eta0 d) goes through. What the grid sends back is of second order in the loss of a cell,
(sigma eta0 h)^2 / 2 = 3e-3 at 0.5 mm.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from elec.fdtd import ModulatedGaussian, scene_media, uniform_media
from elec.geometry import Scene, box
from elec.geometry.scene import Body
from elec.materials import Material
from elec.validation.slabs import COURANT, LAYERS, WIDE, column, sheet_spectra, sideways
from mindsci.units import SPEED_OF_LIGHT, VACUUM_IMPEDANCE, VACUUM_PERMEABILITY, VACUUM_PERMITTIVITY

THICKNESS = 10e-3
FREQUENCIES = torch.tensor([2.5e9, 5e9, 7.5e9, 10e9], dtype=torch.float64)


def exact(material: Material) -> tuple[Tensor, Tensor]:
    """Reflected and transmitted amplitude, the latter beside vacuum of the same thickness."""
    s = 2j * math.pi * FREQUENCIES
    mu = material.relative_permeability + material.magnetic_conductivity / (s * VACUUM_PERMEABILITY)
    epsilon = material.relative_permittivity + material.conductivity / (s * VACUUM_PERMITTIVITY)
    impedance, gamma = (mu / epsilon).sqrt(), s * (mu * epsilon).sqrt() / SPEED_OF_LIGHT
    q, p = (impedance - 1.0) / (impedance + 1.0), torch.exp(-gamma * THICKNESS)
    below = 1.0 - q**2 * p**2
    turn = torch.exp(-s * THICKNESS / SPEED_OF_LIGHT)
    return (q * (1.0 - p**2) / below).abs(), ((1.0 - q**2) * p / below / turn).abs()


def measured(material: Material, cells: int, shift: float) -> tuple[Tensor, Tensor]:
    cell, before = THICKNESS / cells, LAYERS + 24
    grid, walls = column(cell, 2 * before + cells + 1), sideways()
    first = (before + shift) * cell
    slab = Body(name="slab", solid=box((-WIDE, -WIDE, first), (WIDE, WIDE, first + THICKNESS)), material="filling")
    media = scene_media(Scene(parts=(slab,), materials={"filling": material}), grid, walls=walls)
    pulse = ModulatedGaussian(frequency=6.5e9, bandwidth=12e9)
    n_steps = round((pulse.duration + 3e-9) / (COURANT * grid.courant_limit()))
    at = (LAYERS + 6, before - 4, before + cells + 8)
    nothing, there = (
        sheet_spectra(grid, one, at, pulse, n_steps, FREQUENCIES, polarisation=(1, 0, 0))
        for one in (uniform_media(grid, walls=walls), media)
    )
    return ((there[0] - nothing[0]) / nothing[1]).abs(), (there[2] / nothing[2]).abs()


def test_a_slab_with_magnetic_loss_reflects_and_transmits_as_a_line_to_second_order() -> None:
    material = Material(name="filling", relative_permeability=2.0, magnetic_conductivity=4e4)
    law = exact(material)
    assert float(law[1].max()) < 0.8
    for shift in (0.0, 0.37):
        errors = []
        for cells in (10, 20):
            found = measured(material, cells, shift)
            errors.append(max(float((a - b).abs().max()) for a, b in zip(found, law, strict=True)))
        assert errors[1] < 0.01
        assert math.log2(errors[0] / errors[1]) > 1.8


def test_an_absorber_matched_to_vacuum_sends_nothing_back() -> None:
    sigma = 0.4
    matched = Material(name="filling", conductivity=sigma, magnetic_conductivity=sigma * VACUUM_IMPEDANCE**2)
    reflected, transmitted = measured(matched, 20, 0.0)
    assert float(reflected.max()) < 3e-3
    law = math.exp(-sigma * VACUUM_IMPEDANCE * THICKNESS)
    assert float((transmitted / law - 1.0).abs().max()) < 0.01
