"""Gradients by the numbers that a designer gives: of materials, waveforms, ports, and of metal beside grid lines.

Central differences with h = 1e-5 of the value of functions that are smooth on the scale of the value err by h^2 and by
1e-16 / h: 1e-9 relative; 1e-7 leaves room for cancellation in weighted sums.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from elec.fdtd import ContinuousWave, Gaussian, GaussianDerivative, ModulatedGaussian, Ricker, VoltagePort, scene_media
from elec.geometry import Scene, cylinder, sphere
from elec.geometry.cuts import solid_cuts
from elec.geometry.scene import Body
from elec.grid import Grid
from elec.materials import Material, debye, drude, lorentz
from elec.validation.gradient_cases import CASES, How, trace
from elec.validation.gradients import case_rows, differences, gradients
from mindsci.solvers import Fused


def weighed(values) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for k, value in enumerate(values):
        generator = torch.Generator().manual_seed(k)
        weights = torch.rand(value.shape, dtype=torch.float64, generator=generator)
        total = total + (weights * value).sum()
    return total


def compare(function, values: list[float], *, relative: float = 1e-7) -> None:
    """The gradient against central differences, one parameter at a time."""
    parameters = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in values]
    found = torch.autograd.grad(function(*parameters), parameters)
    for place, (value, slope) in enumerate(zip(values, found, strict=True)):
        ends = []
        for sign in (1, -1):
            moved = [torch.tensor(v, dtype=torch.float64) for v in values]
            moved[place] = moved[place] * (1.0 + sign * 1e-5)
            ends.append(float(function(*moved)))
        assert float(slope) == pytest.approx((ends[0] - ends[1]) / (2e-5 * value), rel=relative), place


def grid(cells: int = 8, size: float = 1e-3) -> Grid:
    x = size * torch.arange(cells + 1, dtype=torch.float64)
    return Grid(x=x, y=x.clone(), z=x.clone())


POLES = {
    "debye": (debye, [3.0, 8e-12]),
    "drude": (drude, [8e9, 3e10]),
    "lorentz": (lorentz, [1.5, 9e9, 3e10]),
    "overdamped lorentz": (lorentz, [1.5, 9e9, 3e11]),
}


@pytest.mark.parametrize("name", POLES)
def test_media_follow_the_numbers_of_a_material(name: str) -> None:
    make, values = POLES[name]

    def function(epsilon: Tensor, mu: Tensor, sigma: Tensor, radius: Tensor, *numbers: Tensor) -> Tensor:
        material = Material(
            name="m", relative_permittivity=epsilon, relative_permeability=(mu, 1.0, 1.3), conductivity=sigma,
            poles=make(*numbers),
        )  # fmt: skip
        ball = Body(name="ball", solid=sphere((4.1e-3, 3.9e-3, 4.2e-3), radius), material="m")
        media = scene_media(Scene(parts=(ball,), materials={"m": material}), grid(), cross_terms=False)
        keep, after, before, _ = media.poles.recursion(1e-12)
        fields = [media.permittivity, media.conductivity, media.permeability]
        return weighed([*fields, keep.real, keep.imag, after.real, before.real])

    # Eighths of cells that the ball's surface begins to cut have a kink in their third derivative.
    compare(function, [2.5, 1.4, 0.3, 2.3e-3, *values], relative=1e-6)


def test_a_uniform_scene_follows_its_material() -> None:
    def function(epsilon: Tensor, sigma: Tensor) -> Tensor:
        material = Material(name="m", relative_permittivity=epsilon, conductivity=sigma)
        scene = Scene(parts=(), materials={"m": material}, background="m")
        cells = scene.cell_materials(grid())
        media = scene_media(scene, grid())
        return weighed([media.permittivity, media.conductivity, cells.relative_permittivity, cells.conductivity])

    compare(function, [2.5, 0.3])


WAVES = {
    "gaussian derivative": (lambda f, w: GaussianDerivative(frequency_max=f, later=w), [9e9, 2e-11]),
    "gaussian": (lambda f, w: Gaussian(frequency_max=f, later=w), [9e9, 2e-11]),
    "gaussian of a width": (lambda s, d: Gaussian.of_width(s, delay=d), [3e-11, 2e-10]),
    "modulated": (lambda f, b, w: ModulatedGaussian(frequency=f, bandwidth=b, later=w), [9e9, 5e9, 2e-11]),
    "ricker": (lambda f, w: Ricker(frequency=f, later=w), [6e9, 2e-11]),
    "continuous": (lambda f, r: ContinuousWave(frequency=f, ramp=r), [6e9, 3.0]),
}


@pytest.mark.parametrize("name", WAVES)
def test_signals_follow_the_numbers_of_a_waveform(name: str) -> None:
    make, values = WAVES[name]
    t = 1.37e-12 * torch.arange(500, dtype=torch.float64)
    compare(lambda *numbers: weighed([make(*numbers)(t)]), values)


def test_a_width_and_a_delay_make_a_gaussian() -> None:
    t = 1e-12 * torch.arange(300, dtype=torch.float64)
    signal = Gaussian.of_width(2e-11, delay=1.1e-10)(t)
    assert torch.allclose(signal, torch.exp(-(((t - 1.1e-10) / 2e-11) ** 2) / 2), rtol=1e-12, atol=1e-300)


def test_a_port_follows_its_values() -> None:
    """Conductivity, poles, source and reading of a port with all three elements."""
    from elec.fdtd import uniform_media

    space, pulse, dt = grid(), GaussianDerivative(frequency_max=9e9), 1e-12
    record = torch.sin(torch.arange(40, dtype=torch.float64))

    def function(resistance: Tensor, inductance: Tensor, capacitance: Tensor, amplitude: Tensor) -> Tensor:
        port = VoltagePort(
            start=(4e-3, 4e-3, 3e-3), stop=(4e-3, 4e-3, 5e-3), axis=2, waveform=pulse, resistance=resistance,
            inductance=inductance, capacitance=capacitance, amplitude=amplitude,
        )  # fmt: skip
        media, source, _ = port.place(space, uniform_media(space), dt=dt, n_steps=40)
        read = port.reflection(record, dt, torch.tensor([5e9], dtype=torch.float64))
        drive = media.poles.recursion(dt).after.real
        return weighed([drive, 1e-3 * source.values(30, dt), 1e-3 * read.real, 1e-3 * read.imag])

    compare(function, [50.0, 2e-9, 0.4e-12, 1.3], relative=1e-6)


def test_cuts_beside_the_end_of_a_cylinder_on_a_grid_plane_keep_their_gradient() -> None:
    """Lines that run in the plane of an end see the side that they cross, not the end beside them."""

    def function(radius: Tensor) -> Tensor:
        low, high = (torch.tensor([4.1e-3, 3.9e-3, z], dtype=torch.float64) for z in (2e-3, 5e-3))
        cuts = solid_cuts(cylinder(low, high, radius), grid())
        return weighed([*cuts.edges, *cuts.faces])

    compare(function, [1.37e-3])


def test_the_fused_adjoint_follows_a_metal_ball_and_the_delay_of_a_pulse() -> None:
    """In float32 within 1e-3 of differences in float64, and the fused one in float64 within 1e-6."""
    case = trace()
    found = [gradients(case, How(dtype=dtype, adjoint=Fused()))["trace"] for dtype in (torch.float32, torch.float64)]
    for parameter in ("ball radius", "delay"):
        slope = differences(case, parameter)["trace"]
        assert found[0][parameter] == pytest.approx(slope, rel=1e-3)
        assert found[1][parameter] == pytest.approx(slope, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda make: make.__name__)
def test_gradients_of_whole_runs_meet_their_gates(case) -> None:
    assert [row.case for row in case_rows(case()) if not row.ok] == []
