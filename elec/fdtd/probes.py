"""What is read from the fields on the way: edge probes (time signals) and Fourier monitors (fields in a box)."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch
from jaxtyping import Complex, Float, Inexact, Int
from torch import Tensor

from mindsci.errors import InputError
from mindsci.tree import Tree


class Probes(Tree):
    """Time signals: row p of the records gets sum over places of weights[p, place] times the field there.

    Components 0 to 2 are the electric field of an edge, 3 to 5 the magnetic field of a face. After a step the electric
    field belongs to its end and the magnetic one to its middle.
    """

    edges: Int[Tensor, "places 4"]
    """component, then the three node indices"""
    weights: Float[Tensor, "probes places"]

    def read(
        self, electric: Inexact[Tensor, "3 x y z"], magnetic: Inexact[Tensor, "3 x y z"]
    ) -> Inexact[Tensor, "probes"]:
        """Returns the present value of each signal."""
        values = self.at_places(electric, magnetic)
        return self.weights.to(values) @ values

    def at_places(
        self, electric: Inexact[Tensor, "3 x y z"], magnetic: Inexact[Tensor, "3 x y z"]
    ) -> Inexact[Tensor, "places"]:
        """Returns the present field at each place."""
        component, i, j, k = self.edges.unbind(1)
        place = (component % 3, i, j, k)
        values = electric[place]
        if self.magnetic:
            values = torch.where(component < 3, values, magnetic[place])
        return values

    @functools.cached_property
    def magnetic(self) -> bool:
        """Whether any place is a face."""
        return bool((self.edges[:, 0] >= 3).any())


def point_probe(component: int, node: Sequence[int]) -> Probes:
    """Returns a probe of one component: 0 to 2 electric, at an edge [V/m]; 3 to 5 magnetic, at a face [A/m]."""
    return Probes(edges=torch.tensor([[component, *node]]), weights=torch.ones(1, 1, dtype=torch.float64))


def join_probes(probes: Sequence[Probes]) -> Probes:
    """Returns probes of which the rows follow one another."""
    if not probes:
        return Probes(edges=torch.zeros(0, 4, dtype=torch.int64), weights=torch.zeros(0, 0, dtype=torch.float64))
    return Probes(
        edges=torch.cat([probe.edges for probe in probes]),
        weights=torch.block_diag(*(probe.weights for probe in probes)),
    )


class Box(Tree):
    """A box of nodes, `low` included and `high` excluded, in which one field is summed."""

    low: tuple[int, int, int]
    high: tuple[int, int, int]
    field: str = "electric"

    def __post_init__(self) -> None:
        if self.field not in ("electric", "magnetic"):
            raise InputError(f"a monitor of '{self.field}' is not known; use 'electric' or 'magnetic'")
        if not all(0 <= low < high for low, high in zip(self.low, self.high, strict=True)):
            raise InputError(f"the monitor's box from node {self.low} to {self.high} is empty; give low < high")

    @property
    def shape(self) -> tuple[int, int, int, int]:
        x, y, z = (high - low for low, high in zip(self.low, self.high, strict=True))
        return (3, x, y, z)

    def cut(self, field: Inexact[Tensor, "3 x y z"]) -> Inexact[Tensor, "3 bx by bz"]:
        """Returns the part of a field in the box."""
        (a, b, c), (d, e, f) = self.low, self.high
        return field[:, a:d, b:e, c:f]


class Monitors(Tree):
    """Running Fourier sums, dt E(t) exp(-2 pi i f t), of the fields in boxes, at the same frequencies [Hz] for all.

    Only every `every`-th step is taken, with the weight of `every` steps: enough while 1 / (2 every dt) stays above
    the highest frequency in the fields.
    """

    boxes: tuple[Box, ...] = ()
    frequencies: tuple[float, ...] = ()
    every: int = 1

    def __post_init__(self) -> None:
        if self.every < 1:
            raise InputError(f"monitors sample every {self.every} steps; use 1 or more")

    @property
    def n_points(self) -> int:
        return sum(math.prod(box.shape) for box in self.boxes) if self.frequencies else 0

    @property
    def n_frequencies(self) -> int:
        return len(self.frequencies) if self.boxes else 0

    def phases(self, first: int, n_steps: int, dt: float) -> Float[Tensor, "steps fields frequencies two"]:
        """Returns the weights of the field at the end of each step: electric at (n + 1) dt, magnetic at (n + 1/2) dt.

        A step that is not sampled has weight zero.
        """
        step = torch.arange(first, first + n_steps, dtype=torch.float64)
        t = torch.stack([step + 1.0, step + 0.5], dim=1) * dt
        angle = 2.0 * math.pi * t[..., None] * torch.tensor(self.frequencies, dtype=torch.float64)
        weight = self.every * dt * ((step + 1) % self.every == 0).to(torch.float64)
        return weight[:, None, None, None] * torch.stack([angle.cos(), -angle.sin()], dim=-1)

    def unpack(self, spectra: Inexact[Tensor, "2 f points"]) -> list[Complex[Tensor, "f 3 bx by bz"]]:
        """Returns the complex spectrum of each box, [V s/m] or [A s/m]."""
        found, start = [], 0
        for box in self.boxes:
            size = math.prod(box.shape)
            both = spectra[:, :, start : start + size].reshape(2, -1, *box.shape)
            found.append(both[0] + 1j * both[1])
            start += size
        return found
