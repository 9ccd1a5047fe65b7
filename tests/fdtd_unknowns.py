"""Gradients of a problem in which every coefficient and amplitude is an unknown, for tests that compare adjoints."""

from __future__ import annotations

from typing import Any

import torch
from fdtd_problems import everything
from torch import Tensor

from elec.fdtd import Walls, YeeStep
from mindsci import tree
from mindsci.solvers import rollout

STEPS = 40
OPEN = Walls(x=("pmc", "pec"), y=("periodic", "periodic"), z=("pmc", "pec"))
BOXES = [((6, 7, 8), (14, 13, 14)), ((1, 2, 3), (14, 20, 14))]


def problem(engine: str, **options: Any) -> tuple[Any, YeeStep, dict[str, Tensor]]:
    """The step with every coefficient and amplitude an unknown of its own."""
    grid, step = everything(engine=engine, **options)
    media = step.ampere.media
    unknown = {name: getattr(media, name).clone() for name in ("permittivity", "conductivity", "permeability")}
    poles = media.poles
    if poles is not None:
        unknown |= {name: getattr(poles, name).clone() for name in ("rate", "jump", "drive")}
    sources = (*step.faraday.sources, *step.ampere.sources)
    unknown |= {f"amplitude {n}": source.amplitude.clone() for n, source in enumerate(sources)}
    unknown = {name: value.requires_grad_() for name, value in unknown.items()}
    return grid, with_unknown(step, unknown), unknown


def with_unknown(step: YeeStep, unknown: dict[str, Tensor]) -> YeeStep:
    media, poles = step.ampere.media, step.ampere.media.poles
    if poles is not None:
        poles = tree.replace(poles, **{name: unknown[name] for name in ("rate", "jump", "drive")})
    names = ("permittivity", "conductivity", "permeability")
    media = tree.replace(media, poles=poles, **{name: unknown[name] for name in names})
    sources = [
        tree.replace(source, amplitude=unknown[f"amplitude {n}"])
        for n, source in enumerate((*step.faraday.sources, *step.ampere.sources))
    ]
    split = len(step.faraday.sources)
    faraday = tree.replace(step.faraday, permeability=media.permeability, sources=tuple(sources[:split]))
    return tree.replace(step, faraday=faraday, ampere=tree.replace(step.ampere, media=media, sources=sources[split:]))


def objective(grid: Any, step: YeeStep, how: Any) -> Tensor:
    last, _ = rollout(step, step.start(STEPS), n_steps=STEPS, dt=0.9 * grid.courant_limit(), adjoint=how)
    generator = torch.Generator().manual_seed(3)
    records, spectra = (
        torch.rand(leaf.shape, generator=generator, dtype=torch.float64) - 0.5 for leaf in (last.records, last.spectra)
    )
    return (records * last.records).sum() + 1e9 * (spectra * last.spectra).sum()


def gradients(engine: str, how: Any, **options: Any) -> dict[str, Tensor]:
    grid, step, unknown = problem(engine, **options)
    found = torch.autograd.grad(objective(grid, step, how), list(unknown.values()))
    return dict(zip(unknown, found, strict=True))


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    for name, value in expected.items():
        assert float(value.abs().max()) > 0, name
        assert float((found[name] - value).abs().max()) <= tolerance * float(value.abs().max()), name
