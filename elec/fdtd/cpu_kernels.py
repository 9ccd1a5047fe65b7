"""The Yee step for the CPU, compiled by Numba: many steps in one call, each field read and written once for several.

A plane is all cells with one index along x. In one sweep along x, Faraday's law on plane i is followed at once by
Ampère's law on plane i, while the plane is in the cache: E(i) needs H(i) and H(i-1), and H(i) needs the old E(i) and
E(i+1), so the sweep order satisfies both. The same holds one step later one plane behind, so a sweep carries `depth`
steps at a time and the fields go through main memory once for all of them.

Nothing here knows of threads: `elec.fdtd.cpu` calls `sweep` from several, on planes that do not depend on one another.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from elec.fdtd.arrays import Boxes, Edges, Terms
from elec.fdtd.cpu_vectors import absorb_stretch

# Indices are unsigned: Numba checks signed ones for Python's counting from the end, which keeps loops from vectorising.
U = np.uint64
U0, U1, U2, U3 = U(0), U(1), U(2), U(3)
# Without _nrt every row that is looked at costs an atomic count of references; nothing here allocates.
OPTIONS = {"fastmath": True, "cache": True, "nogil": True, "error_model": "numpy", "_nrt": False}


class State(NamedTuple):
    """What a step changes, and the signals (steps, columns) of electric and magnetic sources, which it reads.

    Rows along z are padded with zeros to whole cache lines, so that neighbours along x and y have the same alignment.
    magnetic_below is the same memory one place earlier: its entry k is H at k - 1. current and held belong to the
    terms of the media's poles, the latter to keep the electric field of before the step, and their magnetic
    namesakes to those of the magnetic poles. axes[a] is the component along
    the kernel's axis a, and memory[a] belongs to the layers along it.
    """

    electric: np.ndarray
    magnetic: np.ndarray
    magnetic_below: np.ndarray
    memory: tuple[np.ndarray, np.ndarray, np.ndarray]
    axes: tuple[int, int, int]
    current: np.ndarray
    held: np.ndarray
    magnetic_current: np.ndarray
    magnetic_held: np.ndarray
    spectra: np.ndarray
    samples: np.ndarray
    electric_signals: np.ndarray
    magnetic_signals: np.ndarray


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


class Points(NamedTuple):
    """What acts on single places or reads them: sources, the media's poles, probes, monitors, samples of a box."""

    electric_sources: Edges
    magnetic_sources: Edges
    terms: Terms
    magnetic_terms: Terms
    probes: Edges
    boxes: Boxes
    past: Past


@njit(**OPTIONS)
def _faraday_plane(i, state, coefficients, layers):
    """Advances the magnetic field of plane i by one step; gain = -dt / mu."""
    electric, magnetic, memory = state.electric, state.magnetic, state.memory
    gain, b, c = coefficients.gain, layers.b_h, layers.c_h
    inverse_x, inverse_z = coefficients.inverse_h[0][i], coefficients.inverse_h[2]
    x, y, z = U(state.axes[0]), U(state.axes[1]), U(state.axes[2])
    up = i + U1
    n_y, n, end = U(electric.shape[2] - 1), U(electric.shape[3]), U(layers.cells_z)
    slab_x, low, high = layers.slab_x[i], U(layers.low_z), U(layers.high_z)
    for j in range(n_y):
        right = j + U1
        inverse_y = coefficients.inverse_h[1][j]
        row_x, row_y, row_z = (
            U(coefficients.rows_h[x, i, j]),
            U(coefficients.rows_h[y, i, j]),
            U(coefficients.rows_h[z, i, j]),
        )
        for k in range(n):
            curl_y = inverse_y * (electric[z, i, right, k] - electric[z, i, j, k])
            curl_z = inverse_z[k] * (electric[y, i, j, k + U1] - electric[y, i, j, k])
            magnetic[x, i, j, k] += gain[row_x, k] * (curl_y - curl_z)
        for k in range(n):
            curl_z = inverse_z[k] * (electric[x, i, j, k + U1] - electric[x, i, j, k])
            curl_x = inverse_x * (electric[z, up, j, k] - electric[z, i, j, k])
            magnetic[y, i, j, k] += gain[row_y, k] * (curl_z - curl_x)
        for k in range(n):
            curl_x = inverse_x * (electric[y, up, j, k] - electric[y, i, j, k])
            curl_y = inverse_y * (electric[x, i, right, k] - electric[x, i, j, k])
            magnetic[z, i, j, k] += gain[row_z, k] * (curl_x - curl_y)
        if slab_x >= 0:
            s = U(slab_x)
            for k in range(n):
                psi = b[0][s] * memory[0][U2, s, j, k] + c[0][s] * (electric[y, up, j, k] - electric[y, i, j, k])
                memory[0][U2, s, j, k] = psi
                magnetic[z, i, j, k] += gain[row_z, k] * psi
            for k in range(n):
                psi = b[0][s] * memory[0][U3, s, j, k] - c[0][s] * (electric[z, up, j, k] - electric[z, i, j, k])
                memory[0][U3, s, j, k] = psi
                magnetic[y, i, j, k] += gain[row_y, k] * psi
        if layers.slab_y[j] >= 0:
            s = U(layers.slab_y[j])
            for k in range(n):
                psi = b[1][s] * memory[1][U2, i, s, k] + c[1][s] * (electric[z, i, right, k] - electric[z, i, j, k])
                memory[1][U2, i, s, k] = psi
                magnetic[x, i, j, k] += gain[row_x, k] * psi
            for k in range(n):
                psi = b[1][s] * memory[1][U3, i, s, k] - c[1][s] * (electric[x, i, right, k] - electric[x, i, j, k])
                memory[1][U3, i, s, k] = psi
                magnetic[z, i, j, k] += gain[row_z, k] * psi
        above_x, above_y = electric[x, i, j, 1:], electric[y, i, j, 1:]
        for first, last, shift in ((U0, low, U0), (low, low + high, end - low - high)):
            absorb_stretch(
                memory[2][U2, i, j], b[2], c[2], above_x, electric[x, i, j],
                gain[row_y], magnetic[y, i, j], first, last, shift,
            )  # fmt: skip
            absorb_stretch(
                memory[2][U3, i, j], b[2], c[2], electric[y, i, j], above_y,
                gain[row_x], magnetic[x, i, j], first, last, shift,
            )  # fmt: skip


@njit(**OPTIONS)
def _ampere_plane(i, state, coefficients, layers, around):
    """Advances the electric field of plane i by one step.

    Before the first node lies a plane or row of zeros, or the last cells of a periodic axis; before k = 0 the padding
    of the row before. Conductor and padding have decay = drive = 0, so rows need no exception.
    """
    electric, magnetic, below, memory = state.electric, state.magnetic, state.magnetic_below, state.memory
    decay, drive, b, c = coefficients.decay, coefficients.drive, layers.b_e, layers.c_e
    inverse_x, inverse_z = coefficients.inverse_e[0][i], coefficients.inverse_e[2]
    x, y, z = U(state.axes[0]), U(state.axes[1]), U(state.axes[2])
    down = i - U1 if i > U0 else U(around.before[0])
    if around.periodic[2]:
        for j in range(U(electric.shape[2] - 1)):
            below[x, i, j, 0] = magnetic[x, i, j, around.before[2]]
            below[y, i, j, 0] = magnetic[y, i, j, around.before[2]]
    n_y, n, end = U(electric.shape[2] - 1), U(electric.shape[3]), U(layers.cells_z)
    slab_x, low, high = layers.slab_x[i], U(layers.low_z), U(layers.high_z)
    for j in range(n_y):
        left = j - U1 if j > U0 else U(around.before[1])
        inverse_y = coefficients.inverse_e[1][j]
        row_x, row_y, row_z = (
            U(coefficients.rows_e[x, i, j]),
            U(coefficients.rows_e[y, i, j]),
            U(coefficients.rows_e[z, i, j]),
        )
        for k in range(n):
            curl_y = inverse_y * (magnetic[z, i, j, k] - magnetic[z, i, left, k])
            curl_z = inverse_z[k] * (magnetic[y, i, j, k] - below[y, i, j, k])
            electric[x, i, j, k] = decay[row_x, k] * electric[x, i, j, k] + drive[row_x, k] * (curl_y - curl_z)
        for k in range(n):
            curl_z = inverse_z[k] * (magnetic[x, i, j, k] - below[x, i, j, k])
            curl_x = inverse_x * (magnetic[z, i, j, k] - magnetic[z, down, j, k])
            electric[y, i, j, k] = decay[row_y, k] * electric[y, i, j, k] + drive[row_y, k] * (curl_z - curl_x)
        for k in range(n):
            curl_x = inverse_x * (magnetic[y, i, j, k] - magnetic[y, down, j, k])
            curl_y = inverse_y * (magnetic[x, i, j, k] - magnetic[x, i, left, k])
            electric[z, i, j, k] = decay[row_z, k] * electric[z, i, j, k] + drive[row_z, k] * (curl_x - curl_y)
        if slab_x >= 0:
            s = U(slab_x)
            for k in range(n):
                psi = b[0][s] * memory[0][U0, s, j, k] + c[0][s] * (magnetic[y, i, j, k] - magnetic[y, down, j, k])
                memory[0][U0, s, j, k] = psi
                electric[z, i, j, k] += drive[row_z, k] * psi
            for k in range(n):
                psi = b[0][s] * memory[0][U1, s, j, k] - c[0][s] * (magnetic[z, i, j, k] - magnetic[z, down, j, k])
                memory[0][U1, s, j, k] = psi
                electric[y, i, j, k] += drive[row_y, k] * psi
        if layers.slab_y[j] >= 0:
            s = U(layers.slab_y[j])
            for k in range(n):
                psi = b[1][s] * memory[1][U0, i, s, k] + c[1][s] * (magnetic[z, i, j, k] - magnetic[z, i, left, k])
                memory[1][U0, i, s, k] = psi
                electric[x, i, j, k] += drive[row_x, k] * psi
            for k in range(n):
                psi = b[1][s] * memory[1][U1, i, s, k] - c[1][s] * (magnetic[x, i, j, k] - magnetic[x, i, left, k])
                memory[1][U1, i, s, k] = psi
                electric[z, i, j, k] += drive[row_z, k] * psi
        for first, last, shift in ((U0, low, U0), (low, low + high, end - low - high)):
            absorb_stretch(
                memory[2][U0, i, j], b[2], c[2], magnetic[x, i, j], below[x, i, j],
                drive[row_y], electric[y, i, j], first, last, shift,
            )  # fmt: skip
            absorb_stretch(
                memory[2][U1, i, j], b[2], c[2], below[y, i, j], magnetic[y, i, j],
                drive[row_x], electric[x, i, j], first, last, shift,
            )  # fmt: skip


@njit(**OPTIONS)
def _excite(i, step, field, sources, signals):
    for n in range(sources.start[i], sources.start[i + 1]):
        place = sources.place[n]
        field[place[0], i, place[1], place[2]] += sources.weight[n] * signals[step, place[3]]


@njit(**OPTIONS)
def _damp(i, state, coefficients):
    """Takes from the magnetic field of plane i what its loss takes in a step; rows without loss are left alone."""
    for component in range(3):
        for j in range(state.magnetic.shape[2] - 1):
            row = coefficients.rows_h[component, i, j]
            if coefficients.damped[row]:
                for k in range(U(state.magnetic.shape[3])):
                    state.magnetic[component, i, j, k] *= coefficients.decay_h[row, k]


@njit(**OPTIONS)
def _hold(i, field, held, terms):
    """Keeps the field of before the step where poles need it."""
    for n in range(terms.start[i], terms.start[i + 1]):
        place = terms.place[n]
        held[n] = field[place[0], i, place[1], place[2]]


@njit(**OPTIONS)
def _polarize(i, field, current, held, terms):
    """Lets the currents of plane i act on the field, then advances them."""
    for n in range(terms.start[i], terms.start[i + 1]):
        place = terms.place[n]
        force = terms.force[n, 0] * current[0, n] - terms.force[n, 1] * current[1, n]
        field[place[0], i, place[1], place[2]] += force
    for n in range(terms.start[i], terms.start[i + 1]):
        place = terms.place[n]
        after, before = field[place[0], i, place[1], place[2]], held[n]
        real = terms.keep[n, 0] * current[0, n] - terms.keep[n, 1] * current[1, n]
        imaginary = terms.keep[n, 1] * current[0, n] + terms.keep[n, 0] * current[1, n]
        current[0, n] = real + terms.after[n, 0] * after + terms.before[n, 0] * before
        current[1, n] = imaginary + terms.after[n, 1] * after + terms.before[n, 1] * before


@njit(**OPTIONS)
def _wrap(i, field, across_y, across_z, around):
    """Makes the last row and column of plane i the images of the first, in two components each."""
    if around.periodic[2]:
        last = around.before[2] + 1
        for j in range(field.shape[2] - 1):
            for component in across_z:
                field[component, i, j, last] = field[component, i, j, 0]
    if around.periodic[1]:
        last = around.before[1] + 1
        for component in across_y:
            for k in range(field.shape[3]):
                field[component, i, last, k] = field[component, i, 0, k]


@njit(**OPTIONS)
def _sample(i, step, state, probes):
    for n in range(probes.start[i], probes.start[i + 1]):
        place = probes.place[n]
        if place[0] < 3:
            state.samples[step, place[3]] = state.electric[place[0], i, place[1], place[2]]
        else:
            state.samples[step, place[3]] = state.magnetic[place[0] - 3, i, place[1], place[2]]


@njit(**OPTIONS)
def _accumulate(i, step, state, boxes):
    """Adds the fields of plane i to the running Fourier sums; a step that is not sampled has phases of zero."""
    for n in range(boxes.place.shape[0]):
        box = boxes.place[n]
        phases = boxes.phases[step, box[0]]
        if i < box[1] or i >= box[4] or (phases[0, 0] == 0.0 and phases[0, 1] == 0.0):
            continue
        field = state.electric if box[0] == 0 else state.magnetic
        for component in range(3):
            for j in range(box[2], box[5]):
                first = box[7] + component * box[8] + (i - box[1]) * box[9] + (j - box[2]) * box[10]
                for f in range(phases.shape[0]):
                    for k in range(box[3], box[6]):
                        point = first + (k - box[3]) * box[11]
                        value = field[component, i, j, k]
                        state.spectra[0, f, point] += phases[f, 0] * value
                        state.spectra[1, f, point] += phases[f, 1] * value


@njit(**OPTIONS)
def _within(i, past):
    return past.low[0] <= i < past.high[0]


@njit(**OPTIONS)
def _copy_rows(i, target, field, past):
    """Copies plane i of the box."""
    for component in range(3):
        for j in range(past.low[1], past.high[1]):
            for k in range(past.low[2], past.high[2]):
                place = (component, i - past.low[0], j - past.low[1], k - past.low[2])
                target[place] = field[component, i, j, k]


@njit(**OPTIONS)
def _correlate(i, slot, field, samples, held, change, mean, filters, layers, past):
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


@njit(**OPTIONS)
def _magnetic(i, step, state, coefficients, layers, around, points):
    past = points.past
    _hold(i, state.magnetic, state.magnetic_held, points.magnetic_terms)
    if coefficients.damped.shape[0] > 0:
        _damp(i, state, coefficients)
    _faraday_plane(U(i), state, coefficients, layers)
    _excite(i, step, state.magnetic, points.magnetic_sources, state.magnetic_signals)
    _polarize(i, state.magnetic, state.magnetic_current, state.magnetic_held, points.magnetic_terms)
    _wrap(i, state.magnetic, (state.axes[1], state.axes[1]), (state.axes[2], state.axes[2]), around)
    if (
        past.mode == 2
        and past.held_magnetic.size > 0
        and (past.magnetic_slots[step] > -2 or past.stretched)
        and _within(i, past)
    ):
        none = past.mean_electric[:0]
        _correlate(
            i,
            past.magnetic_slots[step],
            state.magnetic,
            past.magnetic,
            past.held_magnetic,
            past.change_magnetic,
            none,
            past.magnetic_filters,
            layers,
            past,
        )


@njit(**OPTIONS)
def _electric(i, step, state, coefficients, layers, around, points):
    past = points.past
    _hold(i, state.electric, state.held, points.terms)
    _ampere_plane(U(i), state, coefficients, layers, around)
    _excite(i, step, state.electric, points.electric_sources, state.electric_signals)
    _polarize(i, state.electric, state.current, state.held, points.terms)
    _wrap(i, state.electric, (state.axes[0], state.axes[2]), (state.axes[0], state.axes[1]), around)
    _sample(i, step, state, points.probes)
    _accumulate(i, step, state, points.boxes)
    if (
        past.mode == 2
        and past.held_electric.size > 0
        and (past.electric_slots[step] > -2 or past.stretched)
        and _within(i, past)
    ):
        _correlate(
            i,
            past.electric_slots[step],
            state.electric,
            past.electric,
            past.held_electric,
            past.change_electric,
            past.mean_electric,
            past.electric_filters,
            layers,
            past,
        )
    if past.mode == 1 and _within(i, past):
        if past.electric_slots[step] >= 0:
            _copy_rows(i, past.electric[past.electric_slots[step]], state.electric, past)
        if past.magnetic_slots[step] >= 0:
            _copy_rows(i, past.magnetic[past.magnetic_slots[step]], state.magnetic, past)


@njit(**OPTIONS)
def sweep(planes, slopes, shifts, first, depth, state, coefficients, layers, around, points):
    """Advances a stack of planes by up to `depth` steps, beginning with step `first` of this call.

    In step s Faraday's law covers the planes from planes[0] + s slopes[0] up to, without, planes[1] + s slopes[1];
    Ampère's law the same, its ends moved by shifts. One compiled loop serves both phases, so that a plane is
    computed by the same instructions whichever phase it falls in.
    """
    front_first = min(planes[0], planes[0] + (depth - 1) * (slopes[0] + 1))
    front_last = max(planes[1], planes[1] + (depth - 1) * (slopes[1] + 1)) + shifts[1]
    for front in range(front_first, front_last):
        for step in range(depth):
            i = front - step
            begin, end = planes[0] + step * slopes[0], planes[1] + step * slopes[1]
            if begin <= i < end:
                _magnetic(i, first + step, state, coefficients, layers, around, points)
            if begin + shifts[0] <= i < end + shifts[1]:
                _electric(i, first + step, state, coefficients, layers, around, points)


@njit(**OPTIONS)
def magnetic_planes(planes, step, state, coefficients, layers, around, points):
    """Faraday's law of one step on a stack of planes, where the planes are periodic and one law must wait."""
    for i in range(planes[0], planes[1]):
        _magnetic(i, step, state, coefficients, layers, around, points)


@njit(**OPTIONS)
def electric_planes(planes, step, state, coefficients, layers, around, points):
    """Ampère's law of one step on a stack of planes."""
    for i in range(planes[0], planes[1]):
        _electric(i, step, state, coefficients, layers, around, points)
