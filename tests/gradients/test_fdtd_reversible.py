"""Steps undone on the way back, against steps run again and against central differences.

Set-up: `fdtd_problems.everything`, and a dipole in a box of uneven cells between absorbing layers for long runs.
Without loss a step with -dt undoes the step to rounding. What enters beside that is the record of what cannot be
undone, its error measured when it is made: 1e-13 of its largest value in float64, 16 roundings (1.9e-6) in float32. In
float64 the gradients agree to 1e-10 of the largest. In float32 each undone step adds a rounding of 6e-8 of the largest
field, which nothing absorbs on the way back: a random walk, sqrt(600) 6e-8 = 1.5e-6 of the largest field everywhere,
whose products with the adjoint field are incoherent. 1e-4 of the largest gradient leaves room for the field at the
source, which is several times that of the box; 1e-3 is the project's gate.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fdtd_problems import PULSE, uneven_grid
from fdtd_unknowns import BOXES, OPEN, assert_same, gradients, objective, problem, with_unknown
from torch import Tensor

from elec.fdtd import YeeStep, absorbing_layers, dipole, point_probe, uniform_media, yee_step
from elec.fdtd.record import Record, error_bound, highest_frequency
from mindsci import tree
from mindsci.errors import InputError
from mindsci.solvers import Fused, Reversible, rollout

REGION = BOXES[0]
CUT = (slice(None), *(slice(low, high) for low, high in zip(*REGION, strict=True)))
MEDIA = ("permittivity", "conductivity", "permeability")


def inside(found: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value[CUT] if name in MEDIA else value for name, value in found.items()}


def test_undone_steps_give_the_gradient_of_steps_run_again() -> None:
    expected = gradients("numba", Fused(region=REGION), lossy=False)
    assert_same(inside(gradients("numba", Reversible(region=REGION), lossy=False)), inside(expected), 1e-10)


def test_losses_and_poles_of_edges_and_faces_are_met_from_their_record() -> None:
    found = []
    for how in (Fused(region=REGION), Reversible(region=REGION)):
        grid, step, unknown = problem("numba")
        unknown = {name: value.detach().requires_grad_(name != "permeability") for name, value in unknown.items()}
        names = [name for name in unknown if name != "permeability"]
        last = objective(grid, with_unknown(step, unknown), how)
        found.append(inside(dict(zip(names, torch.autograd.grad(last, [unknown[n] for n in names]), strict=True))))
    assert_same(found[1], found[0], 1e-10)


def test_the_permeability_of_faces_with_magnetic_loss_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"faces with magnetic loss or poles.*adjoint=Fused\(\)"):
        gradients("numba", Reversible(region=REGION))


def test_open_and_periodic_walls_are_undone_too() -> None:
    options = {"walls": OPEN, "lossy": False, "nodes": (18, 17, 16)}
    region = ((0, 0, 0), (14, 17, 13))
    expected = gradients("numba", Fused(region=region), **options)
    assert_same(gradients("numba", Reversible(region=region), **options), expected, 1e-10)


NODES, CELLS = (30, 28, 26), 6


def long_run(how: Any, steps: int, *, dtype: torch.dtype = torch.float64, scale: Tensor | None = None) -> Tensor:
    """The energy of a probe's record; scale: of the permittivity."""
    grid = uneven_grid(NODES)
    permittivity = torch.ones(3, *NODES, dtype=torch.float64)
    permittivity[:, 12:18, 12:16, 10:16] = 4.0
    conductivity = torch.zeros(3, *NODES, dtype=torch.float64)
    conductivity[:, 12:18, 12:16, 10:16] = 2e-4  # undone: it grows by less than ten over these runs
    conductivity[2, 20, 14, 13] = 5.0  # recorded
    media = uniform_media(grid, permittivity=permittivity, conductivity=conductivity, dtype=dtype)
    if scale is not None:
        media = tree.replace(media, permittivity=media.permittivity * scale)
    step: YeeStep = yee_step(
        grid,
        media,
        absorber=absorbing_layers(grid, CELLS),
        sources=[dipole(grid, 2, (9, 9, 9), PULSE)],
        probes=[point_probe(2, (19, 18, 16))],
    )
    last, _ = rollout(step, step.start(steps), n_steps=steps, dt=0.99 * grid.courant_limit(), adjoint=how)
    return (last.records.to(torch.float64) ** 2).sum() * 1e-6


BETWEEN = ((CELLS,) * 3, tuple(size - 1 - CELLS for size in NODES))


def gradient(how: Any, steps: int, dtype: torch.dtype = torch.float64) -> Tensor:
    scale = torch.ones(3, *NODES, dtype=dtype, requires_grad=True)
    (found,) = torch.autograd.grad(long_run(how, steps, dtype=dtype, scale=scale), scale)
    return found.to(torch.float64)


def difference(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


def test_the_gradient_of_undone_steps_is_that_of_central_differences() -> None:
    generator = torch.Generator().manual_seed(5)
    change = torch.zeros(3, *NODES, dtype=torch.float64)
    cut = tuple(slice(a, b) for a, b in zip(*BETWEEN, strict=True))
    change[(slice(None), *cut)] = torch.rand(3, *(s.stop - s.start for s in cut), generator=generator).double()
    with torch.no_grad():
        ends = [float(long_run(None, 150, scale=1 + h * 1e-3 * change)) for h in (1, -1, 2, -2)]
    slope = (8 * (ends[0] - ends[1]) - (ends[2] - ends[3])) / 12e-3
    found = (gradient(Reversible(region=BETWEEN), 150) * change).sum()
    assert float(found) == pytest.approx(slope, rel=1e-6)


def test_single_precision_drifts_by_less_than_its_bound_over_600_steps() -> None:
    expected = gradient(Fused(region=BETWEEN), 600)
    again = difference(gradient(Fused(region=BETWEEN), 600, torch.float32), expected)
    undone = difference(gradient(Reversible(region=BETWEEN), 600, torch.float32), expected)
    assert again < 1e-4
    assert undone < 1e-4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("band", [0.02, 0.06, 0.2])
def test_a_record_keeps_its_bound_and_is_thinned_where_series_are_smooth(dtype: torch.dtype, band: float) -> None:
    generator = torch.Generator().manual_seed(1)
    frequencies = band * torch.rand(40, generator=generator, dtype=torch.float64)
    phases = 2 * torch.pi * torch.rand(40, 50, generator=generator, dtype=torch.float64)
    weights = torch.randn(40, 50, generator=generator, dtype=torch.float64)
    n = torch.arange(300, dtype=torch.float64)
    values = (weights * torch.sin(2 * torch.pi * frequencies[:, None] * n[:, None, None] + phases)).sum(1).to(dtype)
    record = Record(band, error_bound(dtype))
    for part in values.split(128):
        record.add(part)
    rows = torch.cat([record.rows(a, min(a + 47, 300)) for a in range(0, 300, 47)])
    allowed = (error_bound(dtype) + 4 * torch.finfo(dtype).eps) * float(values.abs().max())
    assert float((rows - values).abs().max()) <= allowed
    # Beyond 2 W L their number grows with the logarithm of 1 / bound: 16 of 128 at 1e-13, and as many for the last 44.
    assert record.nbytes < (2 * band + 0.36) * values.nbytes


def test_a_record_of_noise_is_kept_as_it_is() -> None:
    values = torch.randn(200, 7, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    record = Record(0.05, 1e-6)
    record.add(values[:128])
    record.add(values[128:])
    assert torch.equal(record.rows(100, 180), values[100:180])


def test_the_band_is_that_of_the_sources() -> None:
    grid, dt = uneven_grid(NODES), 1e-13
    source = dipole(grid, 2, (9, 9, 9), PULSE)
    # A Gaussian derivative: f exp(-(f / f_peak)^2 / 2) relative to its largest value is 1e-6 at 5.98 f_peak.
    expected = 5.98 / 2.762 * PULSE.frequency_max * dt
    assert highest_frequency([source], 0, 4000, dt, 1e-6) == pytest.approx(expected, rel=0.05)


def test_layers_in_the_region_are_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"cannot undo absorbing layers.*adjoint=Fused\(\)"):
        gradient(Reversible(region=((0, 0, 0), NODES)), 10)


def test_media_that_are_lossy_all_through_are_refused_by_name() -> None:
    grid = uneven_grid(NODES)
    media = uniform_media(grid, conductivity=5.0)
    media = tree.replace(media, permittivity=media.permittivity.clone().requires_grad_())
    step = yee_step(grid, media, sources=[dipole(grid, 2, (9, 9, 9), PULSE)])
    with pytest.raises(InputError, match=r"edges with loss or poles over 2000 steps.*adjoint=Fused\(\)"):
        rollout(step, step.start(), n_steps=2000, dt=0.99 * grid.courant_limit(), adjoint=Reversible())
