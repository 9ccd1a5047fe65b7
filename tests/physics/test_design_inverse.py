"""Inverse problems of which the answer is known, solved from traces.

Set-up: line sources and receivers around unknown cells in a plane (TM), traces from this solver without noise. Law: the
map that made the traces explains them exactly. Tolerance: the search has to explain all but 1e-3 of the power of what
the unknown cells scatter. The cells are a twentieth of the shortest wavelength, so that single cells are hardly
determined, but the sum of the contrast is (the scattering of what is small against the wavelength): 3 %, and the map
within 0.3 of its contrast. A rod has three unknowns, all of which the traces determine: 0.1 % of its radius, 0.02 mm of
its place.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from elec.design import (
    Imaging,
    cell_media,
    global_similarity,
    invert,
    minimize,
    peak_signal_to_noise,
    structural_similarity,
)
from elec.design.mindelec import mindelec_imaging, mindelec_pulse, read
from elec.geometry import cylinder
from elec.validation.inverse import fine_traces
from mindsci.errors import InputError


def small_imaging() -> Imaging:
    return Imaging(
        cell=1e-2,
        cells=(34, 34),
        low=(14, 14),
        high=(20, 20),
        sources=((12, 17), (17, 12), (22, 17), (17, 22)),
        receivers=((12, 12), (12, 22), (22, 12), (22, 22), (17, 11), (11, 17)),
        waveform=mindelec_pulse(1.4e9),
        n_steps=160,
        absorber_cells=8,
    )


def test_a_small_map_is_found_from_its_traces() -> None:
    imaging = small_imaging()
    true = torch.ones(imaging.shape, dtype=torch.float64)
    true[1:4, 2:5] = 2.0
    with torch.no_grad():
        traces = imaging.traces(imaging.whole(true))
    image = invert(imaging, traces, evaluations=40, dtype=torch.float64)
    assert image.evaluations == 40
    assert image.misfits[-1] < 1e-3 * image.misfits[0]
    error = image.permittivity - imaging.whole(true)
    assert abs(float(error.sum() / (true - 1.0).sum())) < 0.03
    assert float(error.norm() / (true - 1.0).norm()) < 0.3


def test_the_radius_and_the_place_of_a_rod_are_found_through_its_fill_fractions() -> None:
    """Shape parameters as leaves: signed distance, filled fraction of each cell, edges, run, traces."""
    imaging = small_imaging()

    def traces(shape: dict[str, Tensor]) -> Tensor:
        center = torch.cat([shape["center"], torch.zeros(1, dtype=torch.float64)])
        height = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
        rod = cylinder(center - height, center + height, shape["radius"])
        fill = rod.soft_fill(imaging.grid(layers=1))[:, :, 0]
        return imaging.traces(1.0 + 2.0 * fill)

    def shape(x: float, y: float, radius: float) -> dict[str, Tensor]:
        return {
            "center": torch.tensor([x, y], dtype=torch.float64),
            "radius": torch.tensor(radius, dtype=torch.float64),
        }

    true = shape(0.174, 0.166, 0.021)
    with torch.no_grad():
        wanted = traces(true)
    power = float(wanted.square().sum())
    found = minimize(
        lambda parameters: (traces(parameters) - wanted).square().sum() / power,
        shape(0.168, 0.172, 0.015),
        evaluations=25,
        bounds=(0.005, 0.2),
    )
    torch.testing.assert_close(found.parameters["radius"], true["radius"], rtol=1e-3, atol=0)
    torch.testing.assert_close(found.parameters["center"], true["center"], rtol=0, atol=2e-5)


def test_traces_of_half_the_cell_differ_by_the_error_of_the_scheme() -> None:
    """Second order in the cell: with 20 cells per shortest wavelength the traces agree to a few percent."""
    imaging = small_imaging()
    true = imaging.whole(torch.ones(imaging.shape, dtype=torch.float64))
    with torch.no_grad():
        coarse, fine = imaging.traces(true), fine_traces(imaging, true)
    assert float((coarse - fine).norm() / fine.norm()) < 0.03


def test_alike_maps_have_full_marks_and_the_measures_follow_their_definitions() -> None:
    one = torch.rand(40, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert global_similarity(one, one, 1.0) == pytest.approx(1.0)
    assert structural_similarity(one, one, 1.0) == pytest.approx(1.0)
    assert peak_signal_to_noise(one + 0.01, one, 1.0) == pytest.approx(40.0)
    assert structural_similarity(one.flip(0), one, 1.0) < 0.5


def test_a_source_outside_the_cells_is_refused() -> None:
    with pytest.raises(InputError, match="not inside"):
        mindelec_imaging(sources=((0, 50),))


def test_media_of_cells_take_the_mean_around_each_edge() -> None:
    imaging = small_imaging()
    cells = imaging.whole(torch.full(imaging.shape, 3.0, dtype=torch.float64))[:, :, None]
    media = cell_media(imaging.grid(layers=1), cells)
    assert float(media.permittivity[2, 14, 14, 0]) == pytest.approx(1.5)
    assert float(media.permittivity[2, 17, 17, 0]) == pytest.approx(3.0)


@pytest.mark.data
def test_published_traces_are_those_of_this_solver(data_mirror: Path) -> None:
    """MindElec's solver is the same scheme in float32 with layers a quarter of a cell apart: 5e-5 of the norm."""
    folder = data_mirror / "em_reference/mindelec"
    if not folder.is_dir():
        pytest.skip("the mirror has no em_reference/mindelec")
    labels = read({name: folder / name for name in ("ez_labels.npy", "epsr_labels.npy")}, SimpleNamespace(name="m"))
    with torch.no_grad():
        again = mindelec_imaging().traces(labels.permittivity)
    assert float((again - labels.traces).norm() / labels.traces.norm()) < 2e-4
