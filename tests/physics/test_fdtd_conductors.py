"""Conductors known by their surface, against closed forms.

A sheet of admittance Y across a line of the impedance W of the wave (eta0 at normal incidence, eta0 / cos for E across
the plane of incidence, eta0 cos for E in it): r = -y / (1 + y), t = 1 / (1 + y), y = Y W / 2; 377 ohm pass 4/9 of the
power.
The grid's impedance is (k h)^2 / 8 off, 1.2 % at 20 cells a wavelength, and halving h must quarter the error.

A cavity of a good conductor: Q = omega W / P with P = Rs / 2 of |H|^2 over its walls, Rs = sqrt(omega mu / 2 sigma)
[Pozar2012, eq. 6.46 and sec. 6.4]. Flat walls: H stands half a cell from the wall, where it differs by (k h)^2 / 8 at
most: second order. Round walls: H(r) differs by h / (2 R), first order; 12 cells a diameter make it 8 %.
"""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from elec.fdtd import yee_step
from elec.fdtd.conformal import cut_scene_media
from elec.fdtd.energy import energy
from elec.geometry import Scene, box, sheet, sphere
from elec.geometry.scene import Body
from elec.grid import Grid
from elec.materials import Material, drude_surface, foil_surface, good_conductor, resistance_surface
from elec.validation.conductors import (
    BAND,
    COPPER,
    attenuation,
    box_case,
    box_quality,
    cylinder_case,
    cylinder_quality,
    layer_law,
    sheet_law,
    sheet_powers,
    surface_resistance,
)
from mindsci import tree
from mindsci.units import VACUUM_IMPEDANCE

FILM = Material(name="film", kind="sheet", surface=resistance_surface(VACUUM_IMPEDANCE))


def test_a_sheet_of_377_ohm_passes_four_ninths_to_second_order() -> None:
    assert sheet_law(1.0 / VACUUM_IMPEDANCE, 0.0, "s") == pytest.approx((1.0 / 9.0, 4.0 / 9.0))
    errors = []
    for cells in (10, 20):
        _, reflected, transmitted = sheet_powers(FILM, 0.0, "s", 10e9, cells)
        errors.append(max(abs(reflected - 1.0 / 9.0), abs(transmitted - 4.0 / 9.0)))
    assert errors[1] < 0.0125
    assert math.log2(errors[0] / errors[1]) > 1.8


@pytest.mark.parametrize("polarisation", ["s", "p"])
def test_a_sheet_at_45_degrees_is_an_admittance_across_a_line(polarisation: str) -> None:
    _, *found = sheet_powers(FILM, 45.0, polarisation, 10e9)
    assert found == pytest.approx(sheet_law(1.0 / VACUUM_IMPEDANCE, 45.0, polarisation), abs=0.0125)


def test_graphene_is_a_drude_sheet() -> None:
    weight, damping, frequency = 3.5e10, 2e12, 1e12
    film = Material(name="film", kind="sheet", surface=drude_surface(weight, damping))
    _, *found = sheet_powers(film, 0.0, "s", frequency)
    law = sheet_law(weight / (2j * math.pi * frequency + damping), 0.0, "s")
    assert found == pytest.approx(law, abs=0.0125)


def test_a_thin_layer_of_copper_shields_as_its_sheet() -> None:
    frequency, thickness = 5e9, 1e-7
    film = Material(name="film", kind="sheet", surface=foil_surface(COPPER, thickness, BAND))
    _, _, found = sheet_powers(film, 0.0, "s", frequency)
    assert 10.0 * math.log10(found / layer_law(COPPER, thickness, frequency)) == pytest.approx(0.0, abs=0.1)


def test_the_q_of_a_box_converges_to_that_of_its_skin() -> None:
    frequency, exact = box_quality(COPPER)
    for shift in ((0.0, 0.0, 0.0), (0.3, 0.17, 0.41)):
        _, found, quality = box_case(10, shift)
        assert found == pytest.approx(frequency, rel=0.01)
        assert quality == pytest.approx(exact, rel=0.04)


def test_parallel_plates_lose_rs_over_eta_d() -> None:
    gap = 1e-3
    _, found = attenuation(None, gap, 10e9)
    assert found == pytest.approx(surface_resistance(COPPER, 10e9) / (VACUUM_IMPEDANCE * gap), rel=0.02)


@pytest.mark.slow
def test_the_q_of_a_box_is_of_second_order_in_the_cell() -> None:
    _, exact = box_quality(COPPER)
    errors = [abs(box_case(cells, (0.0, 0.0, 0.0))[2] / exact - 1.0) for cells in (10, 20)]
    assert errors[1] < 0.01
    assert math.log2(errors[0] / errors[1]) > 1.8


@pytest.mark.slow
@pytest.mark.parametrize("tilt", [0.0, 0.5])
def test_the_q_of_a_cylinder_with_conformal_walls_is_of_first_order(tilt: float) -> None:
    _, exact = cylinder_quality(COPPER)
    errors = [abs(cylinder_case(cells, tilt)[2] / exact - 1.0) for cells in (12, 24)]
    assert errors[0] < 0.08
    assert errors[1] < 0.04


def test_skins_and_sheets_take_energy_and_never_give_it() -> None:
    """Noise in a box with cut copper and films, at the usual time step: what it loses is lost, to the last."""
    line = 1e-3 * torch.arange(13, dtype=torch.float64)
    grid = Grid(x=line, y=line, z=line)
    film = Material(name="film", kind="sheet", surface=resistance_surface(20.0))
    poor = good_conductor("poor", 1e3, (1e9, 1e11))
    corners = ((2e-3, 2e-3), (9e-3, 2e-3), (9e-3, 9e-3))
    parts = (
        Body(name="ball", solid=sphere((6.2e-3, 5.7e-3, 4.1e-3), 2.6e-3), material="poor"),
        Body(name="slab", solid=box((-1.0, -1.0, -1.0), (1.0, 1.0, 1e-3)), material="poor"),
        sheet(corners, 8e-3).part("film", material="film"),
        sheet(corners, 10e-3).part("plate", material="poor"),
    )
    scene = Scene(parts=parts, materials={"film": film, "poor": poor})
    dt = 0.99 * grid.courant_limit()
    media = cut_scene_media(scene, grid, dt=dt)
    step = yee_step(grid, media)
    noise = torch.randn(3, *media.metal.shape[1:], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    # The curl of noise: fields of charges at rest would stay.
    curl = step.advance(tree.replace(step.start(), magnetic=noise), 0.0, dt, 1).electric
    fields = tree.replace(step.start(), electric=curl)
    energies = []
    for _ in range(6):
        after = step.advance(fields, 0.0, dt, 1)
        energies.append(energy(grid, media, fields, after))
        fields = step.advance(fields, 0.0, dt, 300)
    assert all(0.0 < b < a for a, b in itertools.pairwise(energies))
    assert energies[-1] < 0.2 * energies[0]
