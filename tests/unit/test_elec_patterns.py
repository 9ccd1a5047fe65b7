"""Figures read from far fields that are known in closed form, and their pictures."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from elec.observables import (
    FarField,
    efficiency,
    great_circle,
    half_power_width,
    plot_cuts,
    plot_pattern,
    radar_cross_section,
    sphere_directions,
)
from mindsci.errors import InputError


def field(theta_part: complex, phi_part: complex) -> FarField:
    """A dipole along z with a given state of polarisation."""
    sphere = sphere_directions(8, 16)
    shape = sphere.theta.sin().to(torch.complex128)[None]
    return FarField(
        frequencies=torch.tensor([1e9], dtype=torch.float64),
        theta=sphere.theta,
        phi=sphere.phi,
        electric_theta=theta_part * shape,
        electric_phi=phi_part * shape,
        impedance=377.0,
    )


def test_the_sphere_integrates_a_dipole_exactly() -> None:
    sphere, dipole = sphere_directions(8, 16), field(1.0, 0.0)
    power = sphere.integral(dipole.intensity)
    assert float(power) == pytest.approx(8.0 * math.pi / 3.0 / (2.0 * 377.0), rel=1e-12)
    assert torch.allclose(dipole.gain(power)[0], 1.5 * sphere.theta.sin() ** 2)
    assert float(efficiency(power, 2.0 * power)) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("theta_part", "phi_part", "ratio"), [(1.0, 1j, 1.0), (1.0, 0.5j, 2.0), (0.25, 1j, 4.0), (1.0, -0.2j, 5.0)]
)
def test_the_axial_ratio_is_that_of_the_ellipse(theta_part: complex, phi_part: complex, ratio: float) -> None:
    found = field(theta_part, phi_part).axial_ratio()
    assert torch.allclose(found, torch.full_like(found, ratio))


def test_right_hand_is_that_of_ieee() -> None:
    """exp(j omega t) with E_phi behind E_theta by 90 degrees turns clockwise seen from behind: right-handed."""
    right, left = field(1.0, -1j).circular()
    assert float(left.abs().max()) < 1e-12 < float(right.abs().max())


def test_linear_polarisation_splits_into_co_and_cross() -> None:
    found = field(1.0, 0.0)
    co, cross = found.ludwig()
    assert torch.allclose(co.abs() ** 2 + cross.abs() ** 2, found.electric_theta.abs() ** 2)


def test_the_half_power_width_of_a_dipole_is_ninety_degrees() -> None:
    angle, theta, _ = great_circle(0.0, 721)
    assert half_power_width(angle, theta.sin() ** 2) == pytest.approx(math.pi / 2, abs=1e-4)
    with pytest.raises(InputError, match="does not fall to half"):
        half_power_width(angle[340:380], torch.ones(40, dtype=torch.float64))


def test_a_cross_section_takes_the_part_that_the_receiver_takes() -> None:
    found, incident = field(3.0, 4j), torch.tensor([2.0 + 0j], dtype=torch.complex128)
    both = radar_cross_section(found, incident)
    parts = [radar_cross_section(found, incident, polarisation=unit) for unit in ((1.0, 0.0), (0.0, 1.0))]
    assert torch.allclose(both, parts[0] + parts[1])
    assert float(both.max()) == pytest.approx(4.0 * math.pi * 25.0 / 4.0 * float(found.theta.sin().max() ** 2))


def test_pictures_are_drawn(tmp_path: Path) -> None:
    angle, theta, _ = great_circle(0.0, 91)
    plot_cuts(tmp_path / "cuts.png", angle, {"E plane": 1.5 * theta.sin() ** 2})
    sphere = sphere_directions(10, 20)
    plot_pattern(tmp_path / "pattern.png", sphere.theta, sphere.phi, 1.5 * sphere.theta.sin() ** 2)
    assert (tmp_path / "cuts.png").stat().st_size > 5000 and (tmp_path / "pattern.png").stat().st_size > 5000
