"""Poles fitted to measured optical constants (mirror `em_reference/refractive_index`).

For each material the band [um], the number of pole pairs, and the largest rms error of |epsilon| over the band that is
held. Sellmeier formulas are rational functions, so the error is that of the search, 1e-5 or less. Measured tables of
three digits (Johnson and Christy: n good to 0.02 or so, with k of 2 to 14) scatter by a few per cent in epsilon, and a
smooth causal function can follow them no better. Every fit is passive at all frequencies, not in the band alone.
"""

from __future__ import annotations

import pytest
import torch

from elec.materials import read_optical_constants
from elec.materials.dispersion import ROUNDING, gain
from elec.materials.fit import fit_material
from elec.materials.optical import frequency_band

pytestmark = pytest.mark.data

CASES = {
    "Au_Johnson": (0.3, 1.9, 4, 0.03),
    "Au_Rakic-LD": (0.3, 2.0, 4, 1e-3),
    "Ag_Johnson": (0.3, 1.9, 4, 0.02),
    "Al_Rakic": (0.2, 2.0, 4, 0.01),
    "Cu_Johnson": (0.3, 1.9, 4, 0.04),
    "Si_Green-2008": (0.3, 1.2, 4, 0.03),
    "Si_Salzberg": (1.36, 11.0, 2, 1e-5),
    "GaAs_Aspnes": (0.3, 0.82, 5, 0.01),
    "SiO2_Malitson": (0.25, 3.0, 3, 1e-4),
    "TiO2_Devore-o": (0.43, 1.53, 2, 1e-5),
    "Si3N4_Luke": (0.31, 5.0, 2, 1e-5),
    "H2O_Hale": (0.2, 3.5, 4, 0.03),
}


@pytest.mark.parametrize("name", CASES)
def test_a_fit_follows_its_table_and_is_passive_everywhere(name, data_mirror):
    low, high, n_poles, limit = CASES[name]
    constants = read_optical_constants(data_mirror / "em_reference" / "refractive_index" / f"{name}.yml")
    fit = fit_material(name, constants, n_poles=n_poles, band=frequency_band((low * 1e-6, high * 1e-6)))
    assert fit.rms_error < limit
    poles = fit.material.poles
    assert all(complex(pole.rate).real <= 0 for pole in poles) and gain(poles)[0] <= ROUNDING
    everywhere = fit.material.permittivity(torch.logspace(9.0, 18.0, 4001, dtype=torch.float64))
    assert bool((everywhere.imag <= 1e-9 * everywhere.abs()).all())
    assert fit.material.relative_permittivity >= 1.0
