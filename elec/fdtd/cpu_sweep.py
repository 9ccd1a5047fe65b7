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

from elec.fdtd.cpu_history import Past, copy_rows, correlate, hold, within
from elec.fdtd.cpu_laws import OPTIONS, U, ampere_plane, faraday_plane
from elec.fdtd.places import Boxes, Edges, Terms


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
def _magnetic(i, step, state, coefficients, layers, around, points):
    past = points.past
    meets = past.mode == 2 and past.change_magnetic.size > 0 and within(i, past)
    meets = meets and (past.magnetic_slots[step] >= 0 or past.stretched)
    if meets and past.magnetic_slots[step] >= 0:
        hold(i, state.magnetic, past)
    _hold(i, state.magnetic, state.magnetic_held, points.magnetic_terms)
    if coefficients.damped.shape[0] > 0:
        _damp(i, state, coefficients)
    faraday_plane(i, state, coefficients, layers)
    _excite(i, step, state.magnetic, points.magnetic_sources, state.magnetic_signals)
    _polarize(i, state.magnetic, state.magnetic_current, state.magnetic_held, points.magnetic_terms)
    _wrap(i, state.magnetic, (state.axes[1], state.axes[1]), (state.axes[2], state.axes[2]), around)
    if meets:
        none = past.mean_electric[:0]
        correlate(
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
    meets = past.mode == 2 and past.change_electric.size > 0 and within(i, past)
    meets = meets and (past.electric_slots[step] >= 0 or past.stretched)
    if meets and past.electric_slots[step] >= 0:
        hold(i, state.electric, past)
    _hold(i, state.electric, state.held, points.terms)
    ampere_plane(i, state, coefficients, layers, around)
    _excite(i, step, state.electric, points.electric_sources, state.electric_signals)
    _polarize(i, state.electric, state.current, state.held, points.terms)
    _wrap(i, state.electric, (state.axes[0], state.axes[2]), (state.axes[0], state.axes[1]), around)
    _sample(i, step, state, points.probes)
    _accumulate(i, step, state, points.boxes)
    if meets:
        correlate(
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
    if past.mode == 1 and within(i, past):
        if past.electric_slots[step] >= 0:
            copy_rows(i, past.electric[past.electric_slots[step]], state.electric, past)
        if past.magnetic_slots[step] >= 0:
            copy_rows(i, past.magnetic[past.magnetic_slots[step]], state.magnetic, past)


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


@njit(**OPTIONS)
def hold_pairs(state, pairs):
    """Keeps the field of before the step at edges that act on one another."""
    for n in range(pairs.edges.shape[0]):
        edge = pairs.edges[n]
        pairs.change[n] = state.electric[edge[0], edge[1], edge[2], edge[3]]


@njit(**OPTIONS)
def couple_pairs(state, pairs):
    """Lets the changes of edges act on those that they are coupled to."""
    for n in range(pairs.edges.shape[0]):
        edge = pairs.edges[n]
        pairs.change[n] = state.electric[edge[0], edge[1], edge[2], edge[3]] - pairs.change[n]
    for n in range(pairs.edges.shape[0]):
        edge = pairs.edges[n]
        for pair in range(pairs.start[n], pairs.start[n + 1]):
            added = pairs.weight[pair] * pairs.change[pairs.column[pair]]
            state.electric[edge[0], edge[1], edge[2], edge[3]] += added


@njit(**OPTIONS)
def electric_laws(planes, step, state, coefficients, layers, around, points):
    """Ampère's law alone, where edges of other planes have yet to act on these."""
    for i in range(planes[0], planes[1]):
        _hold(i, state.electric, state.held, points.terms)
        ampere_plane(i, state, coefficients, layers, around)
        _excite(i, step, state.electric, points.electric_sources, state.electric_signals)
        _polarize(i, state.electric, state.current, state.held, points.terms)


@njit(**OPTIONS)
def electric_known(planes, step, state, around, points):
    """What is read from the electric field of a stack of planes after the step; no products, which are refused then."""
    past = points.past
    for i in range(planes[0], planes[1]):
        _wrap(i, state.electric, (state.axes[0], state.axes[2]), (state.axes[0], state.axes[1]), around)
        _sample(i, step, state, points.probes)
        _accumulate(i, step, state, points.boxes)
        if past.mode == 1 and within(i, past):
            if past.electric_slots[step] >= 0:
                copy_rows(i, past.electric[past.electric_slots[step]], state.electric, past)
            if past.magnetic_slots[step] >= 0:
                copy_rows(i, past.magnetic[past.magnetic_slots[step]], state.magnetic, past)
