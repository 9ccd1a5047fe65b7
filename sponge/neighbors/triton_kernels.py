"""The search on a GPU: one program a centre, against the atoms in the bins around it; as `cell_kernels.search`."""

import triton
import triton.language as tl

IMAGES = tl.constexpr(512)


@triton.jit
def edges_kernel(
    order,
    places,
    fractions,
    homes,
    owner,
    bins,
    counts,
    spans,
    cells,
    flags,
    first,
    rows,
    degree,
    centre,
    neighbor,
    shift,
    square,
    n_atoms,
    capacity,
    HALF: tl.constexpr,
    FILL: tl.constexpr,
    SHIFTS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Counts the edges of the centre at place p into `degree`, or with FILL writes those that there is room for."""
    p = tl.program_id(0)
    s = tl.load(owner + p)
    own = tl.load(order + p)
    nx, ny, nz = tl.load(counts + 3 * s), tl.load(counts + 3 * s + 1), tl.load(counts + 3 * s + 2)
    low_x, high_x = _range(fractions, spans, flags, p, s, 0, nx)
    low_y, high_y = _range(fractions, spans, flags, p, s, 1, ny)
    low_z, high_z = _range(fractions, spans, flags, p, s, 2, nz)
    limit = tl.load(square)
    x, y, z = tl.load(places + p), tl.load(places + n_atoms + p), tl.load(places + 2 * n_atoms + p)
    begin = tl.load(first + s)
    n = 0
    base = tl.load(rows + own)
    for bx in range(low_x, high_x + 1):
        ix = (bx + IMAGES * nx) // nx - IMAGES
        for by in range(low_y, high_y + 1):
            iy = (by + IMAGES * ny) // ny - IMAGES
            column = begin + ((bx - ix * nx) * ny + by - iy * ny) * nz
            for iz in range((low_z + IMAGES * nz) // nz - IMAGES, (high_z + IMAGES * nz) // nz - IMAGES + 1):
                home = (ix == 0) & (iy == 0) & (iz == 0)
                a = tl.load(bins + column + tl.maximum(low_z - iz * nz, 0))
                b = tl.load(bins + column + tl.minimum(high_z - iz * nz, nz - 1) + 1)
                if HALF:
                    ahead = (ix > 0) | ((ix == 0) & ((iy > 0) | ((iy == 0) & (iz > 0))))
                    a = tl.where(home, tl.maximum(a, p + 1), a)
                    b = tl.where(home | ahead, b, a)
                if b > a:
                    at_x = x - _image(cells, s, 0, ix, iy, iz)
                    at_y = y - _image(cells, s, 1, ix, iy, iz)
                    at_z = z - _image(cells, s, 2, ix, iy, iz)
                    for start in range(a, b, BLOCK):
                        q = start + tl.arange(0, BLOCK)
                        inside = q < b
                        dx = tl.load(places + q, mask=inside, other=0.0) - at_x
                        dy = tl.load(places + n_atoms + q, mask=inside, other=0.0) - at_y
                        dz = tl.load(places + 2 * n_atoms + q, mask=inside, other=0.0) - at_z
                        near = inside & (dx * dx + dy * dy + dz * dz < limit)
                        if not HALF:
                            near = near & ((q != p) | (not home))
                        found = near.to(tl.int32)
                        if FILL:
                            place = base + n + tl.cumsum(found, 0) - 1
                            fits = (found != 0) & (place < capacity)
                            tl.store(neighbor + place, tl.load(order + q, mask=inside, other=0), mask=fits)
                            tl.store(centre + place, own, mask=fits)
                            if SHIFTS:
                                for k in tl.static_range(3):
                                    image = ix if k == 0 else (iy if k == 1 else iz)
                                    there = tl.load(homes + 3 * q + k, mask=inside, other=0)
                                    whole = image + tl.load(homes + 3 * p + k) - there
                                    tl.store(shift + 3 * place + k, whole.to(tl.int32), mask=fits)
                        n += tl.sum(found, 0)
    if not FILL:
        tl.store(degree + own, n.to(tl.int64))


@triton.jit
def _range(fractions, spans, flags, p, s, axis, size):
    """First and last bin along an axis that the reach of the centre touches; through images where the axis repeats."""
    fraction, span = tl.load(fractions + 3 * p + axis), tl.load(spans + 3 * s + axis)
    low = tl.floor((fraction - span) * size).to(tl.int64)
    high = tl.floor((fraction + span) * size).to(tl.int64)
    repeats = tl.load(flags + 3 * s + axis) != 0
    low = tl.where(repeats, low, tl.maximum(low, 0))
    high = tl.where(repeats, high, tl.minimum(high, size - 1))
    return low, high


@triton.jit
def _image(cells, s, k, ix, iy, iz):
    """Component k of the vector to an image of the cell."""
    a, b = tl.load(cells + 9 * s + k), tl.load(cells + 9 * s + 3 + k)
    return ix * a + iy * b + iz * tl.load(cells + 9 * s + 6 + k)
