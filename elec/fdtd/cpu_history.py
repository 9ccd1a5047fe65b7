"""What the fused adjoint keeps of a run and sums up on the way, for the CPU kernel: see `elec.fdtd.history`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from elec.fdtd.cpu_laws import OPTIONS, U0, U


class Stretched(NamedTuple):
    """`elec.fdtd.stretching.Filters` for the kernel: w of the places in the layers of each axis, and the tables."""

    state: tuple[np.ndarray, np.ndarray, np.ndarray]
    b: tuple[np.ndarray, np.ndarray, np.ndarray]
    pole: tuple[np.ndarray, np.ndarray, np.ndarray]
    inverse: tuple[np.ndarray, np.ndarray, np.ndarray]


class Past(NamedTuple):
    """`elec.fdtd.history` for the kernel: mode 1 records, 2 correlates; slots as `History.slots` gives them."""

    mode: int
    low: tuple[int, int, int]
    high: tuple[int, int, int]
    electric_slots: np.ndarray
    magnetic_slots: np.ndarray
    electric: np.ndarray
    magnetic: np.ndarray
    held_electric: np.ndarray
    held_magnetic: np.ndarray
    change_electric: np.ndarray
    mean_electric: np.ndarray
    change_magnetic: np.ndarray
    stretched: bool
    scratch: np.ndarray
    electric_filters: Stretched
    magnetic_filters: Stretched


@njit(**OPTIONS)
def within(i, past):
    return past.low[0] <= i < past.high[0]


@njit(**OPTIONS)
def copy_rows(i, target, field, past):
    """Copies plane i of the box."""
    for component in range(3):
        for j in range(past.low[1], past.high[1]):
            for k in range(past.low[2], past.high[2]):
                place = (component, i - past.low[0], j - past.low[1], k - past.low[2])
                target[place] = field[component, i, j, k]


@njit(**OPTIONS)
def correlate(i, slot, field, samples, held, change, mean, filters, layers, past):
    """Adds what the box's plane i gives to the sums of products; without `mean` rows only to `change`.

    Filters of layers go on at every step; a slot of -1 keeps the field for the next step, -2 does not need it.
    """
    first, last = U(past.low[2]), U(past.high[2])
    for component in range(3):
        for j in range(past.low[1], past.high[1]):
            row = field[component, i, j]
            if past.stretched and (layers.low_z + layers.high_z > 0 or layers.slab_x[i] >= 0 or layers.slab_y[j] >= 0):
                row = past.scratch[i]
                _stretch_row(component, i, j, slot, field[component, i, j], row, filters, layers)
            if slot < -1:
                continue
            place = (component, i - past.low[0], j - past.low[1])
            kept = held[place]
            if slot >= 0:
                sample, sums = samples[slot][place], change[place]
                if mean.shape[0] > 0:
                    means = mean[place]
                    for k in range(first, last):
                        after, before = row[k], kept[k - first]
                        sums[k - first] += sample[k - first] * (after - before)
                        means[k - first] += sample[k - first] * (after + before) / 2
                else:
                    for k in range(first, last):
                        sums[k - first] += sample[k - first] * (row[k] - kept[k - first])
            for k in range(first, last):
                kept[k - first] = row[k]


@njit(**OPTIONS)
def _stretch_row(component, i, j, slot, values, row, filters, layers):
    """Makes `row` the values of a row stretched along each axis that has a layer there.

    Without a use for the row, only what lies in layers is right.
    """
    n = U(filters.state[0].shape[3])
    low, high, end = U(layers.low_z), U(layers.high_z), U(layers.cells_z)
    if slot >= -1 or layers.slab_x[i] >= 0 or layers.slab_y[j] >= 0:
        for k in range(n):
            row[k] = values[k]
    else:
        for k in range(low):
            row[k] = values[k]
        for k in range(end - high, end):
            row[k] = values[k]
    if layers.slab_x[i] >= 0:
        s = layers.slab_x[i]
        w, b = filters.state[0][component, s, j], filters.b[0][component, s]
        pole, inverse = filters.pole[0][component, s], filters.inverse[0][component, s]
        for k in range(n):
            new = inverse * row[k] + pole * w[k]
            row[k] = new - b * w[k]
            w[k] = new
    if layers.slab_y[j] >= 0:
        s = layers.slab_y[j]
        w, b = filters.state[1][component, i, s], filters.b[1][component, s]
        pole, inverse = filters.pole[1][component, s], filters.inverse[1][component, s]
        for k in range(n):
            new = inverse * row[k] + pole * w[k]
            row[k] = new - b * w[k]
            w[k] = new
    w, b = filters.state[2][component, i, j], filters.b[2][component]
    pole, inverse = filters.pole[2][component], filters.inverse[2][component]
    for first, last, shift in ((U0, low, U0), (low, low + high, end - low - high)):
        for m in range(first, last):
            new = inverse[m] * row[m + shift] + pole[m] * w[m]
            row[m + shift] = new - b[m] * w[m]
            w[m] = new
