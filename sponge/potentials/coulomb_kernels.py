"""The shielded Coulomb energy of `electrostatics` between the atoms of edges, with its derivatives, compiled."""

from __future__ import annotations

import math
from typing import Any

from numba import njit

from mindsci.kernels.dense import OPTIONS
from mindsci.units import COULOMB_EV_ANGSTROM

K: Any = COULOMB_EV_ANGSTROM


@njit(**OPTIONS)
def potentials(rows, neighbors, lengths, charges, shielded_within, per_cutoff, found, pull):  # type: ignore[no-untyped-def]
    """Sets the potential at each atom [eV/e], and adds to the dE/dr of each edge of a full list [eV/angstrom].

    per_cutoff: 1 / cutoff [1/angstrom], 0 where the interaction does not end.
    """
    for i in range(rows.shape[0] - 1):
        total = 0.0
        for e in range(rows[i], rows[i + 1]):
            r = float(lengths[e])
            if r * per_cutoff >= 1.0:
                continue
            root = math.sqrt(r * r + 1.0)
            near = 1.0 / root + (root * per_cutoff - 2.0) * per_cutoff
            near_slope = (per_cutoff * per_cutoff - 1.0 / (root * root)) * r / root
            far = 1.0 / r + (r * per_cutoff - 2.0) * per_cutoff
            far_slope = per_cutoff * per_cutoff - 1.0 / (r * r)
            x = min(2.0 * r / shielded_within, 1.0)
            switch = 1.0 + x * x * x * (x * (15.0 - 6.0 * x) - 10.0)
            switch_slope = -60.0 / shielded_within * (x * (1.0 - x)) ** 2
            j = neighbors[e]
            total += K * charges[j] * (switch * near + (1.0 - switch) * far)
            slope = switch_slope * (near - far) + switch * near_slope + (1.0 - switch) * far_slope
            pull[e] += K * charges[i] * charges[j] * slope
        found[i] = total
