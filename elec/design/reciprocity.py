"""Records of a run with their derivative by the media in a box, from one more run of the same compiled step.

The curl of an even grid is its own transpose, so the transpose of the scheme is the scheme with time reversed, loss
included. Absorbing layers change that only within themselves: with the stretches s of the axes, s_x s_y s_z times the
operator is symmetric. The derivative of the records thus needs one run that the probes drive with the gradient of the
records, read backwards, and the sums of its fields times those of the first run [Hassan2014]. With E(m) of the first
and v(m) of the second run, read backwards, it is (epsilon0 / dt) sum E(m) (v(m - 1) - v(m)) by the relative
permittivity and sum E(m) (v(m - 1) + v(m)) / 2 by the conductivity: that of the scheme itself, exact to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from elec.fdtd import Source, YeeStep
from elec.fdtd.cpu import NumbaEngine
from elec.fdtd.history import History
from mindsci import tree
from mindsci.errors import InputError
from mindsci.tree import Tree
from mindsci.units import VACUUM_PERMITTIVITY

EVEN = 1e-6


class Sampled(Tree):
    """Signals given at each step."""

    values: Float[Tensor, "steps signals"]
    dt: float
    """[s]"""
    offset: float
    """of a sample from the beginning of its step, in steps"""

    def __call__(self, t: Float[Tensor, "times"]) -> Float[Tensor, "times signals"]:
        step = (t / self.dt - self.offset).round().long()
        inside = (step >= 0) & (step < len(self.values))
        found = self.values[step.clamp(0, len(self.values) - 1)]
        return torch.where(inside[:, None], found, torch.zeros_like(found))


def fits(step: YeeStep) -> str | None:
    """Returns why the derivative of this step is not to be had this way, or None where it is."""
    media = step.ampere.media
    if step.engine != "numba":
        return f"it runs in the compiled step of the CPU, and the engine is {step.engine}"
    if media.poles is not None:
        return "it needs media without dispersion or lumped elements"
    if media.permeability.requires_grad or step.probe.monitors.n_points:
        return "it gives the derivative of records by permittivity and conductivity alone"
    for sizes in (*step.faraday.spacing, *step.ampere.spacing):
        # One cell between two walls: the distance at both nodes is that of a mirror image, the size of the cell.
        if bool(((sizes / sizes[0] - 1.0).abs() > EVEN).any()):
            return "it needs cells of one size along each axis"
    return None


def records(
    step: YeeStep, low: Sequence[int], high: Sequence[int], *, n_steps: int, dt: float
) -> Float[Tensor, "rows samples"]:
    """Returns the records of a run from rest, differentiable in the media of the nodes low to high (excluded).

    Raises InputError for a step that `fits` refuses, and for a box or probes in absorbing layers.
    """
    reason = fits(step)
    if reason is not None:
        raise InputError(f"the reciprocal derivative does not serve here: {reason}; use rollout with an adjoint")
    absorber, nodes = step.ampere.absorber, step.ampere.media.metal.shape[1:]
    if absorber is not None:
        places = step.probe.probes.edges[:, 1:]
        for axis, (first, last) in enumerate(absorber.layers):
            inside = (places[:, axis] >= first) & (places[:, axis] < nodes[axis] - last)
            if not (first <= low[axis] and high[axis] <= nodes[axis] - last and bool(inside.all())):
                raise InputError("a probe or the designed box lies in absorbing layers; move it inwards")
    media = step.ampere.media
    return _Records.apply(media.permittivity, media.conductivity, step, (tuple(low), tuple(high)), n_steps, dt)


class _Records(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        permittivity: Tensor,
        conductivity: Tensor,
        step: YeeStep,
        box: tuple[tuple[int, ...], tuple[int, ...]],
        n_steps: int,
        dt: float,
    ) -> Tensor:
        step = tree.detach(step)
        fields = step.start(n_steps)
        engine = NumbaEngine(step, fields, dt)
        history = None
        if any(ctx.needs_input_grad):
            options = {"electric": True, "magnetic": False, "turn": engine.turn, "dtype": permittivity.dtype}
            history = History(*box, n_steps=n_steps, every=1, **options)
        ctx.kept = (step, history, box, n_steps, dt)
        return engine.advance(fields, 0, n_steps, history).records

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        step, history, box, n_steps, dt = ctx.kept
        driven = _driven_by_probes(step, gradient.double(), dt)
        fields = driven.start()
        history.mode = "correlate"
        NumbaEngine(driven, fields, dt).advance(fields, 0, n_steps, history)
        cut = (slice(None), *(slice(a, b) for a, b in zip(*box, strict=True)))
        found = []
        for sums, factor in ((history.change_electric, VACUUM_PERMITTIVITY / dt), (history.mean_electric, 1.0)):
            whole = torch.zeros(step.ampere.media.metal.shape, dtype=sums.dtype)
            whole[cut] = factor * history.turn.back(sums)
            found.append(whole.masked_fill(step.ampere.media.metal, 0.0))
        return (*found, None, None, None, None)


def _driven_by_probes(step: YeeStep, gradient: Float[Tensor, "rows samples"], dt: float) -> YeeStep:
    """The step with sources where the probes were: their weights times the gradient, the last sample first."""
    probes = step.probe.probes
    signals = gradient.T.flip(0) @ probes.weights.double()
    electric = probes.edges[:, 0] < 3
    later = torch.cat([torch.zeros_like(signals[:1]), signals])
    sources: dict[bool, tuple[Source, ...]] = {}
    for on, values, offset, sign in ((electric, signals, 0.5, 1.0), (~electric, later, 0.0, -1.0)):
        used = on.nonzero()[:, 0]
        places = probes.edges[used].clone()
        places[:, 0] %= 3
        sources[sign > 0] = ()
        if len(used):
            source = Source(
                places=places,
                amplitude=torch.full((len(used),), sign, dtype=torch.float64),
                waveform=Sampled(values=values[:, used], dt=dt, offset=offset),
                kind="current" if sign > 0 else "magnetic current",
                columns=torch.arange(len(used)),
            )
            sources[sign > 0] = (source,)
    none = tree.replace(probes, edges=probes.edges[:0], weights=probes.weights[:0, :0])
    return tree.replace(
        step,
        faraday=tree.replace(step.faraday, sources=sources[False]),
        ampere=tree.replace(step.ampere, sources=sources[True]),
        probe=tree.replace(step.probe, probes=none),
    )
