"""The gradients of the media's poles: sums over time of products at their edges."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from elec.fdtd.poles import Poles
from elec.fdtd.stretching import Along, stretched_series


class PoleSums:
    """With u the adjoint field at the end of each step and weight = -V: dL = sum over steps of weight u d(mean J).

    The mean current is Re [share J + (after E' + before E) / 2] and J' = keep J + after E' + before E. So p, which is
    dL / dJ over the weight, goes backwards as p = keep p' + share u, and each coefficient of the recursion gets a sum.
    """

    def __init__(
        self,
        poles: Poles,
        terms: Tensor,
        dt: float,
        weight: Tensor,
        along: Sequence[Along] | None,
        places: Tensor,
    ) -> None:
        """places: the edges of the terms."""
        self.poles, self.terms, self.dt, self.weight = poles, terms, dt, weight
        self.along, self.places = along, places
        self.step = [part.detach().cpu().to(torch.complex128)[terms] for part in poles.recursion(dt)]
        self.sums = torch.zeros(4, len(terms), dtype=torch.complex128)
        self.p = torch.zeros(len(terms), dtype=torch.complex128)
        self.adjoint: list[Tensor] = []
        self.stretches: list[tuple[Tensor, Tensor, Tensor]] = []

    def add(self, adjoint: Tensor, electric: Tensor, begin: tuple[Tensor, Tensor] | None) -> None:
        """Takes a stretch of steps: u in the order of the adjoint run, E after each step in that of the forward run.

        begin: E and the currents before the first step; None at rest.
        """
        keep, after, before, _share = self.step
        u = adjoint.to(torch.float64).cpu()
        e = electric.to(torch.float64).cpu()
        at_rest = (e.new_zeros(len(self.terms)), torch.zeros(len(self.terms), dtype=torch.complex128))
        before_first, current = begin if begin is not None else at_rest
        e = torch.cat([before_first[None], e])
        currents = []
        for step in range(len(e) - 1):
            currents.append(current)
            current = keep * current + after * e[step + 1] + before * e[step]
        if self.along is not None:
            self.adjoint.append(u)  # the stretch remembers: it wants the whole series
            self.stretches.append((e, torch.stack(currents), u))
            return
        self._products(e, torch.stack(currents), u)

    def _products(self, e: Tensor, currents: Tensor, u: Tensor) -> None:
        keep, _after, _before, share = self.step
        for step in reversed(range(len(currents))):
            v, new, old = u[len(currents) - 1 - step], e[step + 1], e[step]
            self.sums[0] += self.p * currents[step]
            self.sums[1] += self.p * new + 0.5 * v * new
            self.sums[2] += self.p * old + 0.5 * v * old
            self.sums[3] += v * currents[step]
            self.p = keep * self.p + share * v

    def gradients(self) -> list[Tensor | None]:
        """Returns the gradients of rate, jump and drive of all terms of the media."""
        if self.along is not None:
            u = stretched_series(torch.cat(self.adjoint), self.along, self.places)
            for e, currents, own in self.stretches:
                self._products(e, currents, u[: len(own)])
                u = u[len(own) :]
        with torch.enable_grad():
            leaves = [getattr(self.poles, name).detach().requires_grad_() for name in ("rate", "jump", "drive")]
            poles = Poles(edges=self.poles.edges, rate=leaves[0], jump=leaves[1], drive=leaves[2])
            coefficients = torch.stack(list(poles.recursion(self.dt)))[:, self.terms.to(leaves[0].device)]
            weighted = (self.sums * self.weight).to(coefficients)
            total = (weighted * coefficients).real.sum()
            found = torch.autograd.grad(total, leaves)
        return list(found)
