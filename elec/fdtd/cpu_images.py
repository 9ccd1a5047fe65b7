"""Periodic walls of the CPU engine that a sweep cannot close: along the planes, and all of a Bloch-periodic run.

A Bloch-periodic run has complex fields. Only the phase at the walls joins their real and their imaginary part, so
they are two real runs whose images at the walls are made together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from elec.fdtd.places import Edges


class Images:
    """The images of one run, or of the two parts of a complex one.

    factors: of each axis of the kernel, the field at its high side over that at its low side. The cells before the
    first, which Ampère's law asks for, are kept beyond the last ones, where no field lives.
    """

    def __init__(self, states: Sequence[Any], nodes: Sequence[int], factors: Mapping[int, complex]) -> None:
        self.states, self.nodes, self.factors = states, nodes, factors
        self.electric_fields = [state.electric for state in states]
        self.magnetic_fields = [state.magnetic for state in states]
        self.below = [state.magnetic_below for state in states]

    def close_magnetic(self) -> None:
        # Along rows last: what stands before the first cell lies in the padding of the row before.
        for axis, factor in sorted(self.factors.items()):
            size = self.nodes[axis]
            for component in range(3):
                if component == self.states[0].axes[axis]:
                    _copy(self.magnetic_fields, self.magnetic_fields, component, axis, (size - 1, 0), factor)
                elif axis < 2:
                    _copy(self.magnetic_fields, self.magnetic_fields, component, axis, (size - 1, size - 2), 1 / factor)
                else:
                    _copy(self.below, self.magnetic_fields, component, axis, (0, size - 2), 1 / factor)

    def close_electric(self) -> None:
        for axis, factor in sorted(self.factors.items()):
            for component in range(3):
                if component != self.states[0].axes[axis]:
                    last = self.nodes[axis] - 1
                    _copy(self.electric_fields, self.electric_fields, component, axis, (last, 0), factor)

    def clear(self) -> None:
        """Takes away what was kept beyond the last cells."""
        for axis in self.factors:
            beyond = (*(slice(None),) * axis, slice(self.nodes[axis] - 1, None))
            for component in range(3):
                if component != self.states[0].axes[axis]:
                    for field in self.magnetic_fields:
                        field[component][beyond] = 0.0


def _copy(
    targets: Sequence[np.ndarray],
    fields: Sequence[np.ndarray],
    component: int,
    axis: int,
    places: tuple[int, int],
    factor: complex,
) -> None:
    """Writes factor times what lies at places[1] along an axis to places[0]."""
    to, source = ((component, *(slice(None),) * axis, place) for place in places)
    if len(fields) == 1:
        targets[0][to] = fields[0][source]
        return
    real, imaginary = (field[source] for field in fields)
    turned = factor.real * real - factor.imag * imaginary, factor.imag * real + factor.real * imaginary
    for target, values in zip(targets, turned, strict=True):
        target[to] = values


def parted(edges: Edges, n_columns: int, dtype: np.dtype) -> tuple[Edges, Edges]:
    """Returns sources with complex signals as those of the real and of the imaginary part of a run.

    Both read n_columns real parts of the signals, then as many imaginary parts.
    """
    place = np.repeat(edges.place, 2, axis=0)
    place[1::2, 3] += n_columns
    real, imaginary = edges.weight.real, edges.weight.imag

    def with_weights(*weights: np.ndarray) -> Edges:
        return Edges(start=2 * edges.start, place=place, weight=np.stack(weights, axis=1).reshape(-1).astype(dtype))

    return with_weights(real, -imaginary), with_weights(imaginary, real)


def parted_signals(signals: np.ndarray) -> np.ndarray:
    """Returns signals (steps, columns) for `parted`."""
    return np.concatenate([signals.real, signals.imag], axis=1)
