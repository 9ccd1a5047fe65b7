"""Modes of guides on the grid, and the ports that launch and measure them.

Rectangular guide: cut-offs c/2 sqrt((m/a)^2 + (n/b)^2), beta^2 = k^2 - kc^2 [Pozar2012, sec. 3.3]; the scheme is second
order, and for a guide on the grid obeys (2 sin(beta d / 2) / d)^2 = Omega^2 / c^2 - (2 sin(pi / 2 N) / d)^2
to rounding.
Coax: Z0 = eta ln(b / a) / (2 pi sqrt eps), TEM. Slab guide: the lowest TE mode between metal walls so far away that its
tail has died, u tan u = w [Pozar2012, sec. 3.6].

Two-port lines: a mode port launches a mode of the scheme itself, so that a line without an end reflects what the
absorbing layers do, below -40 dB by the project's gate, and keeps its power to 1e-3.
"""

from __future__ import annotations

import math

import pytest
import torch
from scipy.optimize import brentq

from elec.fdtd import ModulatedGaussian, absorbing_layers, uniform_media
from elec.grid import Grid
from elec.ports import (
    ModePort,
    Scattering,
    characteristic_impedance,
    cross_section,
    guide_modes,
    mode_family,
    scattering_matrix,
    scattering_of,
    smith_chart,
)
from elec.ports.modes import flux
from elec.validation.guides import coax_case, filled_wr90, slab_in_wr90
from mindsci import tree
from mindsci.errors import InputError
from mindsci.units import SPEED_OF_LIGHT, VACUUM_IMPEDANCE

A, B = 20e-3, 10e-3


def guide(cells: int, n_z: int = 40) -> Grid:
    cell = A / cells
    x, y = (torch.linspace(0.0, size, round(size / cell) + 1, dtype=torch.float64) for size in (A, B))
    return Grid(x=x, y=y, z=cell * torch.arange(n_z + 1, dtype=torch.float64))


def test_modes_of_a_rectangular_guide_converge_at_second_order_and_none_is_missing() -> None:
    """TE10, TE20 with TE01 (the same cut-off, b = a/2), TE11 with TM11: below cut-off beta is imaginary."""
    frequency = 20e9
    cut_offs = sorted([math.hypot(m / A, n / B) for m, n in ((1, 0), (2, 0), (0, 1), (1, 1), (1, 1), (2, 1), (2, 1))])
    exact = [(2 * math.pi * frequency / SPEED_OF_LIGHT) ** 2 - (math.pi * kc) ** 2 for kc in cut_offs]
    errors = []
    for cells in (10, 20):
        grid = guide(cells, 4)
        modes = guide_modes(cross_section(grid, uniform_media(grid), 2, 2), frequency, count=7)
        found = sorted((mode.beta**2).real for mode in modes)
        errors.append(max(abs(one / other - 1.0) for one, other in zip(found[::-1], exact, strict=True)))
    assert math.log2(errors[0] / errors[1]) > 1.9


def test_beta_of_a_guide_on_the_grid_is_that_of_the_dispersion_relation_to_rounding() -> None:
    grid = guide(12, 4)
    cell, dt, frequency = A / 12, 0.9 * grid.courant_limit(), 11e9
    mode = guide_modes(cross_section(grid, uniform_media(grid), 2, 2), frequency, dt=dt)[0]
    rate = 2.0 / (SPEED_OF_LIGHT * dt) * math.sin(math.pi * frequency * dt)
    along = math.sqrt(rate**2 - (2.0 / cell * math.sin(math.pi / 24)) ** 2)
    assert mode.beta.real == pytest.approx(2.0 / cell * math.asin(0.5 * cell * along), rel=1e-9)
    assert mode.wave_impedance.real == pytest.approx(VACUUM_IMPEDANCE * rate / along, rel=1e-9)


def test_modes_are_orthogonal_in_the_flux() -> None:
    grid = guide(10, 4)
    section = cross_section(grid, uniform_media(grid), 2, 2)
    modes = guide_modes(section, 20e9, count=6)
    product = torch.tensor([[abs(complex(flux(section, a.electric, b.magnetic))) for b in modes] for a in modes])
    product = product / product.diagonal().sqrt()[:, None] / product.diagonal().sqrt()[None, :]
    assert float((product - torch.eye(6)).abs().max()) < 1e-6


def test_coax_with_conformal_metal_has_the_impedance_and_the_beta_of_tem() -> None:
    grid, media = coax_case(8, 4)
    mode = guide_modes(cross_section(grid, media, 2, 2), 5e9)[0]
    exact = VACUUM_IMPEDANCE / (2.0 * math.pi * math.sqrt(2.1)) * math.log(2.055 / 0.635)
    assert mode.effective_index.real == pytest.approx(math.sqrt(2.1), rel=1e-4)
    for definition in ("power-current", "voltage-current", "power-voltage"):
        assert characteristic_impedance(mode, definition=definition).real == pytest.approx(exact, rel=0.01)


def test_a_dielectric_slab_guides_its_lowest_mode() -> None:
    half, permittivity, frequency = 4e-3, 4.0, 15e9
    k = 2.0 * math.pi * frequency / SPEED_OF_LIGHT
    v = k * half * math.sqrt(permittivity - 1.0)
    u = brentq(lambda u: u * math.tan(u) - math.sqrt(v * v - u * u), 1e-6, 0.5 * math.pi - 1e-6)
    exact = math.sqrt(permittivity * k * k - (u / half) ** 2) / k
    errors = []
    for cells in (8, 16):
        cell = half / cells
        x = cell * torch.arange(-4 * cells, 4 * cells + 1, dtype=torch.float64)
        grid = Grid(x=x, y=cell * torch.arange(2, dtype=torch.float64), z=cell * torch.arange(6, dtype=torch.float64))
        # E along y only, between walls across y: edges in the faces lie half in the slab.
        place = x.abs() / half
        filling = torch.where(place < 1.0 - 1e-9, permittivity, torch.where(place > 1.0 + 1e-9, 1.0, 2.5))
        media = uniform_media(grid, permittivity=filling[None, :, None, None])
        mode = guide_modes(cross_section(grid, media, 2, 2), frequency)[0]
        errors.append(abs(mode.effective_index.real - exact))
    assert errors[1] < 2e-3
    assert math.log2(errors[0] / errors[1]) > 1.8


def test_a_family_interpolates_beta_and_impedance_of_a_homogeneous_guide() -> None:
    """Exact but for the eigenvalue search, 1e-7."""
    grid = guide(10, 4)
    section = cross_section(grid, uniform_media(grid), 2, 2)
    dt = 0.9 * grid.courant_limit()
    family = mode_family(section, [10e9, 14e9], dt=dt)
    between = torch.tensor([9e9, 12e9], dtype=torch.float64)
    for frequency, beta, z in zip(between.tolist(), family.beta(between), family.wave_impedance(between), strict=True):
        mode = guide_modes(section, frequency, dt=dt)[0]
        assert complex(beta) == pytest.approx(mode.beta, rel=1e-6)
        assert complex(z) == pytest.approx(mode.wave_impedance, rel=1e-6)


@pytest.fixture(scope="module")
def slab() -> tuple[Scattering, torch.Tensor]:
    """The S-parameters of a slab in WR-90, 8 cells along it, at its faces."""
    frequencies = torch.linspace(9e9, 12e9, 7, dtype=torch.float64)
    grid, media, ports = filled_wr90(8)
    dt = 0.95 * grid.courant_limit()
    layers = absorbing_layers(grid, ((0, 0), (0, 0), (12, 12)))
    found = scattering_matrix(
        grid, media, ports, frequencies, n_steps=round(12e-9 / dt), dt=dt, absorber=layers, decay=80.0
    )
    return found, frequencies


def test_a_slab_in_a_guide_scatters_as_a_line_of_another_impedance(slab: tuple[Scattering, torch.Tensor]) -> None:
    found, frequencies = slab
    for value, exact in zip((found.s[:, 0, 0], found.s[:, 1, 0]), slab_in_wr90(frequencies, 4.0, 8e-3), strict=True):
        assert float((value - exact).abs().max()) < 0.06  # second order: 8 cells of a wavelength of 19 in the slab


def test_a_lossless_reciprocal_device_keeps_its_power_and_is_symmetric(slab: tuple[Scattering, torch.Tensor]) -> None:
    found, _ = slab
    assert float(found.lost_power().abs().max()) < 1e-3
    assert found.reciprocity() < 1e-3
    assert found.passivity() < 1e-3


def test_moving_a_plane_turns_the_reflection_twice(slab: tuple[Scattering, torch.Tensor]) -> None:
    found, _ = slab
    length = 3e-3
    moved = found.shifted([-length, 0.0])
    turn = torch.exp(-1j * found.beta[:, 0] * length)
    assert torch.allclose(moved.s[:, 0, 0], found.s[:, 0, 0] * turn**2)
    assert torch.allclose(moved.s[:, 1, 0], found.s[:, 1, 0] * turn)
    assert torch.allclose(moved.s[:, 1, 1], found.s[:, 1, 1])
    with pytest.raises(InputError, match="1 lengths for 2 ports"):
        found.shifted([length])


def test_renormalisation_and_touchstone_agree_with_scikit_rf(slab: tuple[Scattering, torch.Tensor], tmp_path) -> None:
    import skrf

    found, _ = slab
    with_50 = found.renormalised(50.0)
    other = found.network("slab")
    other.renormalize(50.0, s_def="traveling")
    assert torch.allclose(with_50.s, torch.from_numpy(other.s), atol=1e-9)
    assert torch.allclose(with_50.renormalised(found.impedance).s, found.s, atol=1e-10)
    found.write_touchstone(tmp_path / "slab.s2p")
    read = skrf.Network(str(tmp_path / "slab.s2p"))
    assert torch.allclose(torch.from_numpy(read.s), with_50.s, atol=1e-6)
    smith_chart(tmp_path / "smith.png", found)
    assert (tmp_path / "smith.png").stat().st_size > 1000


def test_runs_that_do_not_drive_every_port_are_refused() -> None:
    a = torch.ones(1, 2, dtype=torch.complex128)
    with pytest.raises(InputError, match="a port is not driven"):
        scattering_of([(a, a), (a, a)])
    with pytest.raises(InputError, match="drive each of them once"):
        scattering_of([(a, a)])


def port(grid: Grid, source: int, probe: int, **changed) -> ModePort:
    options = {
        "axis": 2, "direction": 1, "source": float(grid.z[source]), "probe": float(grid.z[probe]), "frequency": 11e9,
        "band": (9e9, 12e9), "waveform": ModulatedGaussian(frequency=11e9, bandwidth=4e9),
    }  # fmt: skip
    return ModePort(**(options | changed))


def test_bad_ports_are_refused_with_what_to_do() -> None:
    grid = guide(10)
    media, dt = uniform_media(grid), 0.9 * grid.courant_limit()
    with pytest.raises(InputError, match="not beyond its source"):
        port(grid, 10, 8)
    with pytest.raises(InputError, match="must hold its frequency"):
        port(grid, 8, 12, band=(9e9, 10e9))
    with pytest.raises(InputError, match="1 cells apart; leave at least 2"):
        port(grid, 8, 9).place(grid, media, dt)
    with pytest.raises(InputError, match="off the grid lines"):
        tree.replace(port(grid, 8, 12), source=float(grid.z[8]) + 0.4e-3).place(grid, media, dt)
    filling = torch.ones(41, dtype=torch.float64)
    filling[12:] = 2.0
    changing = uniform_media(grid, permittivity=filling[None, None, None, :])
    with pytest.raises(InputError, match="permittivity changes along z"):
        port(grid, 8, 12).place(grid, changing, dt)
    metal = tree.replace(media, metal=torch.ones_like(media.metal))
    with pytest.raises(InputError, match="0 open edges"):
        port(grid, 8, 12).place(grid, metal, dt)
