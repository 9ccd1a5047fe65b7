"""Currents that follow the electric field by first-order equations: dispersion and lumped elements in one form.

A term is a current density J on one edge with dJ/dt = rate J + jump dE/dt + drive E, and Re J enters Ampère's law. Its
admittivity is J / E = (s jump + drive) / (s - rate). Debye, Drude and Lorentz media, and any rational permittivity, are
sums of such terms [Han2006]; so are inductors, and resistors and capacitors in series with them, on an edge.

The step takes J, E and their changes at the middle of the step, like the rest of Ampère's law: second order, and
exactly undone by the step with -dt.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from mindsci.errors import InputError
from mindsci.tree import Tree


class Poles(Tree):
    """Terms on edges; an edge may occur in several. A conjugate pair is one term with doubled jump and drive."""

    edges: Int[Tensor, "terms 4"]
    """component, then the three node indices"""
    rate: Complex[Tensor, "terms"]
    """[1/s], with no positive real part"""
    jump: Complex[Tensor, "terms"]
    """[F/m]"""
    drive: Complex[Tensor, "terms"]
    """[S/(m s)]"""

    def __post_init__(self) -> None:
        if self.rate.numel() and not self.rate.is_meta and bool((self.rate.detach().real > 0).any()):
            raise InputError(
                f"a pole grows at {float(self.rate.detach().real.max()):.4g} 1/s; poles need rates without a positive "
                "real part"
            )

    def index(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        component, i, j, k = self.edges.unbind(1)
        return component, i, j, k

    def recursion(self, dt: float) -> Recursion:
        """Returns the coefficients of one step [s]."""
        half = 0.5 * dt * self.rate
        scale = 1.0 / (1.0 - half)
        jump, drive = self.jump * scale, 0.5 * dt * self.drive * scale
        keep = (1.0 + half) * scale
        return Recursion(keep=keep, after=drive + jump, before=drive - jump, share=0.5 * (1.0 + keep))

    def admittance(
        self, dt: float, shape: torch.Size, dtype: torch.dtype
    ) -> tuple[Float[Tensor, "3 x y z"], Float[Tensor, "3 x y z"]]:
        """Returns what the terms of each edge add to its conductivity for the new and for the old field [S/m].

        (J' + J) / 2 = share J + (new E' + old E) / 2.
        """
        step = self.recursion(dt)
        zero = torch.zeros(shape, dtype=dtype, device=self.rate.device)
        new = zero.index_put(self.index(), step.after.real.to(dtype), accumulate=True)
        old = zero.index_put(self.index(), step.before.real.to(dtype), accumulate=True)
        return new, old


class Recursion(NamedTuple):
    """J' = keep J + after E' + before E; share J is the part of the mean current that the old one gives."""

    keep: Complex[Tensor, "terms"]
    after: Complex[Tensor, "terms"]
    before: Complex[Tensor, "terms"]
    share: Complex[Tensor, "terms"]


def real_product(factor: Complex[Tensor, "terms"], current: Tensor) -> Tensor:
    """Returns the real part of factor times the current, whose rows are its real and its imaginary part."""
    return factor.real.to(current.real) * current[0] - factor.imag.to(current.real) * current[1]


def product(factor: Complex[Tensor, "terms"], current: Tensor) -> Tensor:
    """Returns factor times the current, both parts as rows."""
    real, imaginary = factor.real.to(current.real), factor.imag.to(current.real)
    return torch.stack([real * current[0] - imaginary * current[1], imaginary * current[0] + real * current[1]])


def both_parts(factor: Complex[Tensor, "terms"], field: Tensor) -> Tensor:
    """Returns the real and the imaginary part of the factor, each times the field, as rows."""
    return torch.stack([factor.real.to(field), factor.imag.to(field)]) * field


def join_poles(poles: list[Poles]) -> Poles | None:
    """Returns the terms of all; None where there are none."""
    poles = [one for one in poles if one.rate.numel()]
    if not poles:
        return None
    return Poles(
        edges=torch.cat([one.edges for one in poles]),
        rate=torch.cat([one.rate for one in poles]),
        jump=torch.cat([one.jump for one in poles]),
        drive=torch.cat([one.drive for one in poles]),
    )
