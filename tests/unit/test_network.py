"""Networks: Touchstone that reads back, resonances refined below the frequency step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from elec.network import decibels, network, resonances, write_touchstone


def series_resonator(frequencies: np.ndarray, resonance: float, quality: float, resistance: float) -> np.ndarray:
    """S11 of R in series with L and C against 50 ohm: z = R (1 + j Q (f/f0 - f0/f)) [Pozar2012, eq. 6.8]."""
    impedance = resistance * (1 + 1j * quality * (frequencies / resonance - resonance / frequencies))
    return (impedance - 50) / (impedance + 50)


def test_a_resonance_is_found_between_the_samples() -> None:
    """|S11|^2 is even about f0 to first order in 1/Q: the minimum of its parabola is right to a hundredth of a step."""
    frequencies = np.linspace(1e9, 3e9, 401)
    found = resonances(frequencies, series_resonator(frequencies, 2.0017e9, 20.0, 40.0))
    assert len(found) == 1
    assert found[0].frequency == pytest.approx(2.0017e9, abs=0.02 * 5e6)
    assert found[0].level == pytest.approx(20 * np.log10(10 / 90), abs=0.05)


def test_shallow_minima_are_no_resonances() -> None:
    frequencies = np.linspace(1e9, 3e9, 401)
    assert resonances(frequencies, series_resonator(frequencies, 2e9, 20.0, 500.0)) == []


def test_uneven_frequencies_are_refused() -> None:
    with pytest.raises(ValueError, match="equal distances"):
        resonances(np.array([1.0, 2.0, 4.0]), np.zeros(3, dtype=complex))


def test_touchstone_reads_back(tmp_path: Path) -> None:
    import skrf

    frequencies = torch.linspace(1e9, 2e9, 5, dtype=torch.float64)
    values = torch.complex(torch.linspace(0.1, 0.5, 5, dtype=torch.float64), torch.full((5,), -0.2).double())
    write_touchstone(tmp_path / "a.s1p", network(frequencies, values[:, None, None], impedance=75.0, name="a"))
    back = skrf.Network(str(tmp_path / "a.s1p"))
    assert back.f == pytest.approx(frequencies.numpy())
    assert back.s[:, 0, 0] == pytest.approx(values.numpy())
    assert back.z0[0, 0] == 75.0


def test_decibels_of_zero_stay_finite() -> None:
    assert decibels(np.zeros(1))[0] == -200.0
