"""Harmonic inversion against signals that are sums of decaying oscillations, and against a cavity's closed form.

Without noise the pencil is exact: what is left is rounding times its condition, 1e-8 of the decay. With white noise the
errors that it states are standard deviations: over many seeds the true values lie within three of them nearly always
(the linearised error is a lower bound; the filter makes neighbouring samples depend on each other a little).
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from elec.fdtd import GaussianDerivative, dipole, point_probe, uniform_media, yee_step
from elec.fdtd.energy import cavity_frequency, scheme_frequency
from elec.grid import Grid
from elec.observables.decay import field_energy, record_level, run_until_decayed
from elec.observables.resonances import resonances
from elec.observables.ringing import continued
from mindsci.errors import InputError
from mindsci.solvers import rollout

DT = 1e-11
LINES = ((2.0e9, 900.0, 1.0), (2.05e9, 60.0, 0.5), (3.1e9, 4000.0, 0.2))
"""frequency, Q, amplitude"""


def ringing(n_samples: int, noise: float = 0.0, seed: int = 0) -> Tensor:
    t = DT * torch.arange(n_samples, dtype=torch.float64)
    x = torch.zeros_like(t)
    for index, (f, q, a) in enumerate(LINES):
        x = x + 2.0 * a * torch.exp(-math.pi * f / q * t) * torch.cos(2.0 * math.pi * f * t + index)
    return x + noise * torch.randn(n_samples, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_clean_oscillations_are_found_to_rounding() -> None:
    found = resonances(ringing(6000), DT, (1e9, 4e9))
    assert len(found.frequency) >= 3
    for f, q, a in LINES:
        nearest = int((found.frequency - f).abs().argmin())
        assert float(found.frequency[nearest]) == pytest.approx(f, rel=1e-7)
        assert float(found.quality[nearest]) == pytest.approx(q, rel=1e-4)
        assert float(found.amplitude[nearest].abs()) == pytest.approx(a, rel=1e-4)


def test_stated_errors_cover_the_true_values_in_noise() -> None:
    inside, total, relative = 0, 0, []
    for seed in range(12):
        found = resonances(ringing(6000, noise=0.02, seed=seed), DT, (1e9, 4e9))
        for f, q, _ in LINES:
            nearest = int((found.frequency - f).abs().argmin())
            inside += abs(float(found.frequency[nearest]) - f) < 3.0 * float(found.frequency_error[nearest])
            inside += abs(float(found.quality[nearest]) - q) < 3.0 * float(found.quality_error[nearest])
            total += 2
            relative.append(float(found.frequency_error[nearest]) / f)
    assert inside >= 0.9 * total
    assert max(relative) < 1e-3


def test_a_cavity_rings_at_the_frequencies_of_the_scheme() -> None:
    """50 x 30 x 40 mm, 5 mm cells, four periods a nanosecond of record: two lines 0.45 GHz apart, resolved."""
    size, cells = (50e-3, 30e-3, 40e-3), (10, 6, 8)
    x, y, z = (torch.linspace(0.0, a, n + 1, dtype=torch.float64) for a, n in zip(size, cells, strict=True))
    grid = Grid(x=x, y=y, z=z)
    pulse = GaussianDerivative(frequency_max=8e9)
    step = yee_step(
        grid,
        uniform_media(grid),
        sources=[dipole(grid, 1, (3, 2, 3), pulse), dipole(grid, 2, (3, 2, 3), pulse)],
        probes=[point_probe(1, (4, 3, 5)), point_probe(2, (4, 3, 5))],
    )
    dt = 0.95 * grid.courant_limit()
    n_steps = 1500
    fields, _ = rollout(step, step.start(n_steps), n_steps=n_steps, dt=dt)
    start = math.ceil(pulse.duration / dt)
    record = fields.records[:, start:].sum(dim=0)
    found = resonances(record, dt, (4e9, 7.5e9))
    for mode in ((1, 0, 1), (1, 1, 0), (1, 1, 1), (2, 0, 1)):
        expected = scheme_frequency(mode, size, cells, dt)
        assert abs(expected / cavity_frequency(mode, size) - 1.0) < 0.03
        assert float((found.frequency - expected).abs().min()) < 1e-6 * expected
    strongest = found.quality[:3]
    assert bool((strongest.abs() > 1e5).all())


def lossy_box(n_samples: int) -> tuple[Tensor, float, int]:
    """A box with a little loss, Q of some hundred: its record, the time step, the first sample behind the pulse."""
    line = 4e-3 * torch.arange(11, dtype=torch.float64)
    grid = Grid(x=line, y=line[:8].clone(), z=line[:9].clone())
    pulse = GaussianDerivative(frequency_max=9e9)
    step = yee_step(
        grid,
        uniform_media(grid, conductivity=2e-3),
        sources=[dipole(grid, 2, (4, 3, 4), pulse), dipole(grid, 1, (4, 3, 4), pulse)],
        probes=[point_probe(2, (6, 4, 3))],
    )
    dt = 0.95 * grid.courant_limit()
    fields, _ = rollout(step, step.start(n_samples), n_steps=n_samples, dt=dt)
    return fields.records, dt, math.ceil(pulse.duration / dt)


def test_a_short_record_is_continued_to_the_long_one() -> None:
    whole, dt, start = lossy_box(6000)
    made = continued(whole[:, :1400], dt, 6000, start=start, frequency_max=20e9)
    assert torch.equal(made[:, :1400], whole[:, :1400])
    size = whole[:, start:].abs().max()
    assert (made - whole)[:, 1400:].abs().max() < 1e-3 * size
    assert whole[:, 1400:].abs().max() > 0.05 * size  # the short record is far from its end


@pytest.mark.parametrize("measure", ["energy", "records"])
def test_a_run_stops_once_it_has_decayed(measure: str) -> None:
    line = 4e-3 * torch.arange(11, dtype=torch.float64)
    grid = Grid(x=line, y=line.clone(), z=line.clone())
    pulse = GaussianDerivative(frequency_max=9e9)
    media = uniform_media(grid, conductivity=2e-2)
    step = yee_step(grid, media, sources=[dipole(grid, 2, (4, 3, 4), pulse)], probes=[point_probe(2, (6, 4, 3))])
    dt = 0.95 * grid.courant_limit()
    start = math.ceil(pulse.duration / dt)
    seen = field_energy(grid, media) if measure == "energy" else record_level
    fields, done = run_until_decayed(
        step, step.start(8000), dt=dt, n_steps=8000, measure=seen, decay=40.0, not_before=start, every=50
    )
    assert start < done < 4000
    last = fields.records[0, done - 50 : done].abs().max() / fields.records.abs().max()
    assert 3e-4 < float(last) < 3e-2
    assert bool((fields.records[:, done:] == 0).all())


def test_a_band_beyond_the_sampling_is_refused() -> None:
    with pytest.raises(InputError, match="half the sampling"):
        resonances(ringing(100), DT, (1e9, 60e9))
