"""The Yee step for CUDA in Triton: one program updates a block of nodes; absorbing layers are updated in the same pass.

Component c of node (i, j, k) lies at ((c n_x + i) n_y + j) n_z + k. A layer's memory along axis a has the layout of the
fields with `slots` places along a; slab_a maps an index to its place, or to -1 outside the layers.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _place(component, i, j, k, n_x, n_y, n_z):
    return ((component * n_x + i).to(tl.int64) * n_y + j) * n_z + k


@triton.jit
def _stretched(change, inverse, memory, place, slot, b, c, mask):
    """Returns the stretched derivative of a difference, and renews its recursive sum in the layers."""
    inside = mask & (slot >= 0)
    safe = tl.maximum(slot, 0)
    psi = tl.load(b + safe, mask=inside, other=0.0) * tl.load(memory + place, mask=inside, other=0.0)
    psi += tl.load(c + safe, mask=inside, other=0.0) * change
    tl.store(memory + place, psi, mask=inside)
    return change * inverse + psi


@triton.jit
def faraday_kernel(
    electric, magnetic, memory_x, memory_y, memory_z, rows, decay, gain, inverse_x, inverse_y, inverse_z,
    slab_x, slab_y, slab_z, b_x, b_y, b_z, c_x, c_y, c_z, n_x, n_y, n_z, slots_x, slots_y, slots_z,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """H <- decay H + gain curl E; without loss decay = 1 and gain = -dt / mu."""
    node = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    k = node % n_z
    j = (node // n_z) % n_y
    i = node // (n_y * n_z)
    mask = (i < n_x - 1) & (j < n_y - 1) & (k < n_z - 1)
    size = n_x.to(tl.int64) * n_y * n_z
    ex = tl.load(electric + node, mask=mask, other=0.0)
    ey = tl.load(electric + size + node, mask=mask, other=0.0)
    ez = tl.load(electric + 2 * size + node, mask=mask, other=0.0)
    row_x = tl.load(rows + i * n_y + j, mask=mask, other=0).to(tl.int64)
    row_y = tl.load(rows + (n_x + i) * n_y + j, mask=mask, other=0).to(tl.int64)
    row_z = tl.load(rows + (2 * n_x + i) * n_y + j, mask=mask, other=0).to(tl.int64)

    inverse = tl.load(inverse_x + i, mask=mask, other=0.0)
    slot = tl.load(slab_x + i, mask=mask, other=-1)
    change = tl.load(electric + size + node + n_y * n_z, mask=mask, other=0.0) - ey
    place = _place(2, slot, j, k, slots_x, n_y, n_z)
    curl_z = _stretched(change, inverse, memory_x, place, slot, b_x, c_x, mask)
    change = ez - tl.load(electric + 2 * size + node + n_y * n_z, mask=mask, other=0.0)
    place = _place(3, slot, j, k, slots_x, n_y, n_z)
    curl_y = _stretched(change, inverse, memory_x, place, slot, b_x, c_x, mask)

    inverse = tl.load(inverse_y + j, mask=mask, other=0.0)
    slot = tl.load(slab_y + j, mask=mask, other=-1)
    change = tl.load(electric + 2 * size + node + n_z, mask=mask, other=0.0) - ez
    place = _place(2, i, slot, k, n_x, slots_y, n_z)
    curl_x = _stretched(change, inverse, memory_y, place, slot, b_y, c_y, mask)
    change = ex - tl.load(electric + node + n_z, mask=mask, other=0.0)
    place = _place(3, i, slot, k, n_x, slots_y, n_z)
    curl_z += _stretched(change, inverse, memory_y, place, slot, b_y, c_y, mask)

    inverse = tl.load(inverse_z + k, mask=mask, other=0.0)
    slot = tl.load(slab_z + k, mask=mask, other=-1)
    change = tl.load(electric + node + 1, mask=mask, other=0.0) - ex
    place = _place(2, i, j, slot, n_x, n_y, slots_z)
    curl_y += _stretched(change, inverse, memory_z, place, slot, b_z, c_z, mask)
    change = ey - tl.load(electric + size + node + 1, mask=mask, other=0.0)
    place = _place(3, i, j, slot, n_x, n_y, slots_z)
    curl_x += _stretched(change, inverse, memory_z, place, slot, b_z, c_z, mask)

    hx = tl.load(magnetic + node, mask=mask, other=0.0)
    hy = tl.load(magnetic + size + node, mask=mask, other=0.0)
    hz = tl.load(magnetic + 2 * size + node, mask=mask, other=0.0)
    at_x, at_y, at_z = row_x * n_z + k, row_y * n_z + k, row_z * n_z + k
    hx = tl.load(decay + at_x, mask=mask, other=0.0) * hx + tl.load(gain + at_x, mask=mask, other=0.0) * curl_x
    hy = tl.load(decay + at_y, mask=mask, other=0.0) * hy + tl.load(gain + at_y, mask=mask, other=0.0) * curl_y
    hz = tl.load(decay + at_z, mask=mask, other=0.0) * hz + tl.load(gain + at_z, mask=mask, other=0.0) * curl_z
    tl.store(magnetic + node, hx, mask=mask)
    tl.store(magnetic + size + node, hy, mask=mask)
    tl.store(magnetic + 2 * size + node, hz, mask=mask)


@triton.jit
def ampere_kernel(
    electric, magnetic, memory_x, memory_y, memory_z, rows, decay, drive, inverse_x, inverse_y, inverse_z,
    slab_x, slab_y, slab_z, b_x, b_y, b_z, c_x, c_y, c_z, n_x, n_y, n_z, slots_x, slots_y, slots_z,
    last_x, last_y, last_z, BLOCK: tl.constexpr,
):  # fmt: skip
    """E <- decay E + drive curl H.

    The neighbour before the first node is that of index last along a periodic axis, and zero where last is -1.
    """
    node = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    k = node % n_z
    j = (node // n_z) % n_y
    i = node // (n_y * n_z)
    mask = (i < n_x - 1) & (j < n_y - 1) & (k < n_z - 1)
    size = n_x.to(tl.int64) * n_y * n_z
    hx = tl.load(magnetic + node, mask=mask, other=0.0)
    hy = tl.load(magnetic + size + node, mask=mask, other=0.0)
    hz = tl.load(magnetic + 2 * size + node, mask=mask, other=0.0)
    row_x = tl.load(rows + i * n_y + j, mask=mask, other=0).to(tl.int64)
    row_y = tl.load(rows + (n_x + i) * n_y + j, mask=mask, other=0).to(tl.int64)
    row_z = tl.load(rows + (2 * n_x + i) * n_y + j, mask=mask, other=0).to(tl.int64)

    inverse = tl.load(inverse_x + i, mask=mask, other=0.0)
    slot = tl.load(slab_x + i, mask=mask, other=-1)
    before = tl.where(i > 0, node - n_y * n_z, node + last_x * n_y * n_z)
    exists = mask & (i + last_x >= 0)
    change = hy - tl.load(magnetic + size + before, mask=exists, other=0.0)
    place = _place(0, slot, j, k, slots_x, n_y, n_z)
    curl_z = _stretched(change, inverse, memory_x, place, slot, b_x, c_x, mask)
    change = tl.load(magnetic + 2 * size + before, mask=exists, other=0.0) - hz
    place = _place(1, slot, j, k, slots_x, n_y, n_z)
    curl_y = _stretched(change, inverse, memory_x, place, slot, b_x, c_x, mask)

    inverse = tl.load(inverse_y + j, mask=mask, other=0.0)
    slot = tl.load(slab_y + j, mask=mask, other=-1)
    before = tl.where(j > 0, node - n_z, node + last_y * n_z)
    exists = mask & (j + last_y >= 0)
    change = hz - tl.load(magnetic + 2 * size + before, mask=exists, other=0.0)
    place = _place(0, i, slot, k, n_x, slots_y, n_z)
    curl_x = _stretched(change, inverse, memory_y, place, slot, b_y, c_y, mask)
    change = tl.load(magnetic + before, mask=exists, other=0.0) - hx
    place = _place(1, i, slot, k, n_x, slots_y, n_z)
    curl_z += _stretched(change, inverse, memory_y, place, slot, b_y, c_y, mask)

    inverse = tl.load(inverse_z + k, mask=mask, other=0.0)
    slot = tl.load(slab_z + k, mask=mask, other=-1)
    before = tl.where(k > 0, node - 1, node + last_z * 1)
    exists = mask & (k + last_z >= 0)
    change = hx - tl.load(magnetic + before, mask=exists, other=0.0)
    place = _place(0, i, j, slot, n_x, n_y, slots_z)
    curl_y += _stretched(change, inverse, memory_z, place, slot, b_z, c_z, mask)
    change = tl.load(magnetic + size + before, mask=exists, other=0.0) - hy
    place = _place(1, i, j, slot, n_x, n_y, slots_z)
    curl_x += _stretched(change, inverse, memory_z, place, slot, b_z, c_z, mask)

    ex = tl.load(electric + node, mask=mask, other=0.0)
    ey = tl.load(electric + size + node, mask=mask, other=0.0)
    ez = tl.load(electric + 2 * size + node, mask=mask, other=0.0)
    at_x, at_y, at_z = row_x * n_z + k, row_y * n_z + k, row_z * n_z + k
    ex = tl.load(decay + at_x, mask=mask, other=0.0) * ex + tl.load(drive + at_x, mask=mask, other=0.0) * curl_x
    ey = tl.load(decay + at_y, mask=mask, other=0.0) * ey + tl.load(drive + at_y, mask=mask, other=0.0) * curl_y
    ez = tl.load(decay + at_z, mask=mask, other=0.0) * ez + tl.load(drive + at_z, mask=mask, other=0.0) * curl_z
    tl.store(electric + node, ex, mask=mask)
    tl.store(electric + size + node, ey, mask=mask)
    tl.store(electric + 2 * size + node, ez, mask=mask)
