"""Inverse scattering: MindElec's published case, and maps of our own that no setting was made for.

Metrics are over the whole map of 100 x 100 cells: PSNR with the range 3, MindElec's SSIM (one window over all,
constants 0.01 and 0.03 times the range) and the usual windowed one [Wang2004]. An iteration is one gradient: a run and
its adjoint. The unseen traces come from another grid (5 mm), other absorbing layers and, for one map, with noise.
"""

from __future__ import annotations

import time

import torch
from jaxtyping import Float
from torch import Tensor

from elec.design.imaging import Imaging, invert
from elec.design.mindelec import mindelec_imaging
from elec.design.quality import global_similarity, peak_signal_to_noise, structural_similarity
from elec.validation.rows import Size, above, below
from mindsci.report import Row

EVALUATIONS = 100
RANGE = 3.0
PUBLISHED = {"PSNR": 27.835, "SSIM": 0.9636}
"""MindElec's figures after 100 iterations, mindspore-ai/mindscience, AD_FDTD/fdtd_inverse."""
LARGEST_RESIDUAL = 1e-3


def published() -> list[Row]:
    """Returns the rows of MindElec's case; `ok` None where its data are not there."""
    from mindsci.errors import StorageError
    from mindsci.hub import DownloadError, load_dataset

    try:
        labels = load_dataset("mindelec_inverse_scattering")
    except (DownloadError, StorageError) as error:
        return [
            Row(case="MindElec inverse scattering: no data", measured=None, gate="not run", extra={"why": str(error)})
        ]
    imaging, began = mindelec_imaging(), time.perf_counter()
    with torch.no_grad():
        again = imaging.traces(labels.permittivity)
    residual = float((again - labels.traces).norm() / labels.traces.norm())
    rows = [below("MindElec traces, residual with the true map", residual, LARGEST_RESIDUAL, **_size(imaging, began))]
    began = time.perf_counter()
    image = invert(imaging, labels.traces, evaluations=EVALUATIONS)
    case = f"MindElec map, {image.evaluations} iterations"
    size = _size(imaging, began)
    psnr, ssim, windowed = _quality(image.permittivity, labels.permittivity)
    rows.append(above(f"{case}: PSNR", psnr, PUBLISHED["PSNR"], unit="dB", **size))
    rows.append(above(f"{case}: SSIM, one window", ssim, PUBLISHED["SSIM"], **size))
    rows.append(Row(case=f"{case}: SSIM, windows of 11", measured=windowed))
    power = float(labels.traces.square().sum())
    rows.append(
        Row(case=f"{case}: squared error left", measured=power * image.misfits[-1], unit="V^2/m^2", reference=1.0715e-4)
    )
    return rows


def unseen(name: str, permittivity: Float[Tensor, "100 100"], *, noise: float = 0.0) -> list[Row]:
    """Returns the rows of a map of our own. Its traces are computed with cells of half the size; noise is added as a
    share of their root mean square."""
    began, imaging = time.perf_counter(), mindelec_imaging(absorber=None)
    traces = fine_traces(imaging, permittivity)
    generator = torch.Generator().manual_seed(0)
    disturbance = torch.randn(traces.shape, generator=generator, dtype=traces.dtype)
    traces = traces + noise * traces.square().mean().sqrt() * disturbance
    image = invert(imaging, traces, evaluations=EVALUATIONS)
    psnr, ssim, windowed = _quality(image.permittivity, permittivity)
    size = _size(imaging, began)
    rows = [Row(case=f"{name}: PSNR", measured=psnr, unit="dB", extra=dict(size))]
    rows.append(Row(case=f"{name}: SSIM, one window", measured=ssim, extra=dict(size)))
    rows.append(Row(case=f"{name}: SSIM, windows of 11", measured=windowed))
    return rows


def fine_traces(imaging: Imaging, permittivity: Float[Tensor, "nx ny"]) -> Float[Tensor, "steps sources receivers"]:
    """Returns the traces of a map from a grid of half the cell and time step, at the steps of the coarse one."""
    fine = Imaging(
        cell=0.5 * imaging.cell,
        cells=(2 * imaging.cells[0], 2 * imaging.cells[1]),
        low=(2 * imaging.low[0], 2 * imaging.low[1]),
        high=(2 * imaging.high[0], 2 * imaging.high[1]),
        sources=tuple((2 * i, 2 * j) for i, j in imaging.sources),
        receivers=tuple((2 * i, 2 * j) for i, j in imaging.receivers),
        waveform=imaging.waveform,
        n_steps=2 * imaging.n_steps,
        absorber_cells=2 * imaging.absorber_cells,
    )
    with torch.no_grad():
        cells = permittivity.repeat_interleave(2, 0).repeat_interleave(2, 1)
        # A source of the same current density [A/m^2] fills a quarter of the area.
        return 4.0 * fine.traces(cells)[1::2]


def discs(*which: tuple[float, float, float, float]) -> Float[Tensor, "100 100"]:
    """Returns a map of discs: centre x and y [m], radius [m], permittivity."""
    center = (torch.arange(100, dtype=torch.float64) + 0.5) / 100.0
    x, y = torch.meshgrid(center, center, indexing="ij")
    found = torch.ones(100, 100, dtype=torch.float64)
    for across, along, radius, permittivity in which:
        found[(x - across) ** 2 + (y - along) ** 2 < radius**2] = permittivity
    return found


def angle() -> Float[Tensor, "100 100"]:
    """Returns a map of an L of permittivity 2.5."""
    found = torch.ones(100, 100, dtype=torch.float64)
    found[42:66, 56:62] = 2.5
    found[60:66, 38:62] = 2.5
    return found


def _quality(found: Tensor, true: Tensor) -> tuple[float, float, float]:
    return (
        peak_signal_to_noise(found, true, RANGE),
        global_similarity(found, true, RANGE),
        structural_similarity(found, true, RANGE),
    )


def _size(imaging: Imaging, began: float) -> Size:
    return {"cells": imaging.cells[0] * imaging.cells[1], "seconds": time.perf_counter() - began}


def validations() -> list[Row]:
    """Returns the rows of the published case and of the unseen maps."""
    three = discs((0.40, 0.58, 0.06, 2.0), (0.62, 0.50, 0.04, 3.5), (0.46, 0.37, 0.05, 3.0))
    return [
        *published(),
        *unseen("L of permittivity 2.5, fine traces", angle()),
        *unseen("three discs, fine traces, 1 % noise", three, noise=0.01),
    ]
