"""What the fused adjoint keeps of a run and sums up on the way, for the CPU kernel: see `elec.fdtd.history`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from elec.fdtd.cpu_laws import OPTIONS, U


class Stretched(NamedTuple):
    """`elec.fdtd.stretching.Filters` for the kernel: w of the places in the layers of each axis, and the tables."""

    state: tuple[np.ndarray, np.ndarray, np.ndarray]
    b: tuple[np.ndarray, np.ndarray, np.ndarray]
    pole: tuple[np.ndarray, np.ndarray, np.ndarray]
    inverse: tuple[np.ndarray, np.ndarray, np.ndarray]


class Past(NamedTuple):
    """`elec.fdtd.history` for the kernel: mode 1 records, 2 correlates; slots as `History.slots` gives them.

    before and row are one thread's own: the box's rows of a plane before an update, and a row of a stretched field.
    """

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
    before: np.ndarray
    row: np.ndarray
    electric_filters: Stretched
    magnetic_filters: Stretched


@njit(**OPTIONS)
def within(i, past):
    return past.low[0] <= i < past.high[0]


@njit(**OPTIONS)
def _copy(goal, source):
    for k in range(U(len(goal))):
        goal[k] = source[k]


@njit(**OPTIONS)
def copy_rows(i, target, field, past):
    """Copies plane i of the box."""
    first, last = past.low[2], past.high[2]
    for component in range(3):
        for j in range(past.low[1], past.high[1]):
            _copy(target[component, i - past.low[0], j - past.low[1]], field[component, i, j, first:last])


@njit(**OPTIONS)
def hold(i, field, past):
    """Keeps plane i of the box as it is before an update."""
    first, last = past.low[2], past.high[2]
    for component in range(3):
        for j in range(past.low[1], past.high[1]):
            _copy(past.before[component, j, first:last], field[component, i, j, first:last])


@njit(**OPTIONS)
def _add(after, before, sample, sums):
    for k in range(U(len(after))):
        sums[k] += sample[k] * (after[k] - before[k])


@njit(**OPTIONS)
def _add_mean(after, before, sample, means):
    for k in range(U(len(after))):
        means[k] += sample[k] * (after[k] + before[k]) / 2


@njit(**OPTIONS)
def correlate(i, slot, field, samples, held, change, mean, filters, layers, past):
    """Adds what the box's plane i gives to the sums of products; without `mean` rows only to `change`.

    Outside layers the field of before the update is in past.before. Inside, the filters go on at every step, and what
    they gave is held: a slot of -1 keeps it for the next step, -2 does not need it.
    """
    origin, last = past.low[2], past.high[2]
    low, high, end = layers.low_z, layers.high_z, layers.cells_z
    for component in range(3):
        for j in range(past.low[1], past.high[1]):
            place = (component, i - past.low[0], j - past.low[1])
            plain, until = origin, last
            if past.stretched:
                across = layers.slab_x[i] >= 0 or layers.slab_y[j] >= 0
                if across or low + high > 0:
                    _stretch_row(component, i, j, across, field[component, i, j], past.row, filters, layers)
                    plain, until = (last, last) if across else (max(origin, low), min(last, end - high))
                    for a, b in ((origin, min(last, plain)), (max(origin, until), last if across else min(last, end))):
                        if slot < -1 or a >= b:
                            continue
                        kept, row = held[place][a - origin : b - origin], past.row[a:b]
                        if slot >= 0:
                            sample = samples[slot][place][a - origin : b - origin]
                            _add(row, kept, sample, change[place][a - origin : b - origin])
                            if mean.shape[0] > 0:
                                _add_mean(row, kept, sample, mean[place][a - origin : b - origin])
                        _copy(kept, row)
            if slot >= 0 and plain < until:
                row, kept = field[component, i, j, plain:until], past.before[component, j, plain:until]
                sample = samples[slot][place][plain - origin : until - origin]
                _add(row, kept, sample, change[place][plain - origin : until - origin])
                if mean.shape[0] > 0:
                    _add_mean(row, kept, sample, mean[place][plain - origin : until - origin])


@njit(**OPTIONS)
def _filter(row, w, b, pole, inverse):
    """Stretches values by the filter of one axis whose state is w."""
    for m in range(U(len(w))):
        old = w[m]
        new = inverse * row[m] + pole * old
        row[m] = new - b * old
        w[m] = new


@njit(**OPTIONS)
def _filter_across(row, w, b, pole, inverse):
    """The same along the row, where each place has coefficients of its own."""
    for m in range(U(len(w))):
        old = w[m]
        new = inverse[m] * row[m] + pole[m] * old
        row[m] = new - b[m] * old
        w[m] = new


@njit(**OPTIONS)
def _stretch_row(component, i, j, across, values, row, filters, layers):
    """Makes `row` the values of a row stretched along each axis; not across its layers, only its ends are right."""
    low, high, end = layers.low_z, layers.high_z, layers.cells_z
    if across:
        _copy(row, values)
    else:
        _copy(row[:low], values[:low])
        _copy(row[end - high : end], values[end - high : end])
    s = layers.slab_x[i]
    if s >= 0:
        b, pole, inverse = (
            filters.b[0][component, s], filters.pole[0][component, s], filters.inverse[0][component, s],
        )  # fmt: skip
        _filter(row, filters.state[0][component, s, j], b, pole, inverse)
    s = layers.slab_y[j]
    if s >= 0:
        b, pole, inverse = (
            filters.b[1][component, s], filters.pole[1][component, s], filters.inverse[1][component, s],
        )  # fmt: skip
        _filter(row, filters.state[1][component, i, s], b, pole, inverse)
    w, b = filters.state[2][component, i, j], filters.b[2][component]
    pole, inverse = filters.pole[2][component], filters.inverse[2][component]
    if low > 0:
        _filter_across(row[:low], w[:low], b[:low], pole[:low], inverse[:low])
    if high > 0:
        _filter_across(row[end - high : end], w[low:], b[low:], pole[low:], inverse[low:])
