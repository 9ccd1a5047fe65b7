"""Modes of a guide on the Yee cross-section: what the time-domain scheme itself carries along a uniform guide.

The guide runs along the axis n, with u and v the next two axes in cyclic order. Fields vary as exp(i omega t - i beta
n). In the scheme of Yee [Yee1966] the time derivative is then i Omega, Omega = (2 / dt) sin(omega dt / 2), and the
derivative along the guide -i K, K = (2 / d) sin(beta d / 2) with the cell d [Taflove2005, ch. 4]. With these two the
transverse fields obey, for diagonal media,

    K E_u =  Omega mu_v H_v + d_u (1 / (Omega eps_n)) (d_u H_v - d_v H_u)
    K E_v = -Omega mu_u H_u + d_v (1 / (Omega eps_n)) (d_u H_v - d_v H_u)
    K H_v =  Omega eps_u E_u - d_v (1 / (Omega mu_n)) (d_u E_v - d_v E_u)
    K H_u = -Omega eps_v E_v - d_u (1 / (Omega mu_n)) (d_u E_v - d_v E_u)

[Zhu2002], an eigenvalue problem for K^2 in E_u, E_v that holds both divergence laws and so has no spurious solutions. E
lies in the plane of a node, H half a cell behind it; each is stated with its own phase taken out. A launched mode is
thus a mode of the scheme to rounding, and modes are orthogonal to rounding in the sum of E x H over the section.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
import scipy.sparse as sparse
import torch
from jaxtyping import Bool, Complex, Float
from numpy import ndarray
from scipy.sparse.linalg import ArpackNoConvergence, eigs
from torch import Tensor

from elec.fdtd import Media, Walls
from elec.fdtd.media import BOX
from elec.grid import AXES, Grid
from mindsci.errors import InputError
from mindsci.tree import Tree
from mindsci.units import SPEED_OF_LIGHT, VACUUM_IMPEDANCE, VACUUM_PERMITTIVITY

# Effective indices squared that differ by less than this fraction belong to one degenerate set.
DEGENERATE = 1e-8
# The search starts a little above the largest index squared of the media: on an eigenvalue the matrix is singular.
ABOVE = 1.01

Window = tuple[tuple[int, int], tuple[int, int]]


class Section(Tree):
    """The cross-section of a guide at a node of its axis: coefficients on edges and faces, u then v, both node counts.

    Component order is u, v, n. Entries with no edge behind them count as metal.
    """

    axis: int
    node: int
    low: tuple[int, int]
    """the grid's node at the lower corner"""
    spacing: tuple[Tensor, Tensor]
    """cells along u and v [m], one a cell"""
    dual: tuple[Tensor, Tensor]
    """distances of cell centres [m], one a node"""
    step: float
    """cell along the guide [m]"""
    mirror: tuple[bool, bool]
    """whether the low side of u and v is a magnetic wall"""
    permittivity: Float[Tensor, "3 u v"]
    conductivity: Float[Tensor, "3 u v"]
    """[S/m]"""
    permeability: Float[Tensor, "3 u v"]
    metal: Bool[Tensor, "3 u v"]

    @property
    def transverse(self) -> tuple[int, int]:
        """The axes u and v."""
        return (self.axis + 1) % 3, (self.axis + 2) % 3

    @functools.cached_property
    def areas(self) -> Float[Tensor, "2 u v"]:
        """Areas [m^2] that belong to E_u with H_v, and to E_v with H_u; halved on a magnetic wall."""
        (du, dv), (u, v) = self.spacing, [dual.clone() for dual in self.dual]
        for line, mirror in ((u, self.mirror[0]), (v, self.mirror[1])):
            if mirror:
                line[0] *= 0.5
        zero = du.new_zeros(1)
        return torch.stack([torch.outer(torch.cat([du, zero]), v), torch.outer(u, torch.cat([dv, zero]))])

    @functools.cached_property
    def conductors(self) -> Tensor:
        """Number of the conductor at each node, 0 where there is none; 1 is the one that holds the outer wall.

        Nodes belong to one conductor where a metal edge joins them.
        """
        from scipy.sparse.csgraph import connected_components

        metal = self.metal.numpy()
        size = metal[2].shape
        number = np.arange(metal[2].size).reshape(size)
        pairs = []
        for component, shift in ((0, (1, 0)), (1, (0, 1))):
            rows, columns = size[0] - shift[0], size[1] - shift[1]
            first, second = number[:rows, :columns], number[shift[0] :, shift[1] :]
            joined = metal[component, :rows, :columns]
            pairs.append(np.stack([first[joined], second[joined]]))
        first, second = np.concatenate(pairs, axis=1)
        graph = sparse.coo_matrix((np.ones(len(first)), (first, second)), shape=(metal[2].size,) * 2)
        _, label = connected_components(graph, directed=False)
        label = label.reshape(size)
        found = np.zeros(size, dtype=np.int64)
        wall = label[-1, -1]  # the high sides are conductor always
        others = [one for one in np.unique(label[metal[2]]) if one != wall]
        for index, one in enumerate([wall, *others], start=1):
            found[(label == one) & metal[2]] = index
        return torch.from_numpy(found)

    def places(self, component: int, node: int) -> Tensor:
        """Returns grid places (component, i, j, k) of the window, at a node of the axis; component in u, v, n order."""
        shape = self.metal.shape[1:]
        u, v = torch.meshgrid(torch.arange(shape[0]), torch.arange(shape[1]), indexing="ij")
        places = torch.empty(u.numel(), 4, dtype=torch.int64)
        places[:, 0] = (self.axis + 1 + component) % 3
        places[:, 1 + self.transverse[0]] = u.reshape(-1) + self.low[0]
        places[:, 1 + self.transverse[1]] = v.reshape(-1) + self.low[1]
        places[:, 1 + self.axis] = node
        return places


class Mode(Tree):
    """One mode at one frequency, for a wave along +n with 1 W through the section (of the lossless scheme, exactly).

    Component order u, v, n; arrays over the nodes of the section. electric[0, i, j] is E_u at (i + 1/2, j), and so on.
    Where metal cuts an edge, the stored electric field is its voltage over its whole length.
    """

    section: Section
    frequency: float
    """[Hz]"""
    beta: complex
    """propagation constant of the scheme [rad/m]; negative imaginary part where the wave decays"""
    electric: Complex[Tensor, "3 u v"]
    """[V/m]"""
    magnetic: Complex[Tensor, "3 u v"]
    """[A/m]"""

    @property
    def effective_index(self) -> complex:
        """beta over the wavenumber in vacuum."""
        return self.beta * SPEED_OF_LIGHT / (2.0 * math.pi * self.frequency)

    @property
    def wave_impedance(self) -> complex:
        """Transverse electric over magnetic field [ohm], the mean weighted by the field."""
        e = self.electric[:2]
        return complex((e * e * self.section.areas).sum() / flux(self.section, e, self.magnetic[:2]))

    @property
    def half_cell(self) -> complex:
        """cos(beta d / 2): what a mean of the magnetic fields on both sides of a node plane keeps."""
        return complex(np.cos(0.5 * self.beta * self.section.step))


def flux(section: Section, electric: Tensor, magnetic: Tensor) -> Tensor:
    """Returns the sum of E_u H_v - E_v H_u over the section, no conjugate: modes are orthogonal in this product."""
    both = electric[0] * magnetic[1] * section.areas[0] - electric[1] * magnetic[0] * section.areas[1]
    return both.sum()


def cross_section(
    grid: Grid, media: Media, axis: int, node: int, *, window: Window | None = None, walls: Walls = BOX
) -> Section:
    """Returns the section of a guide at a node of its axis; `window` are node ranges along u and v, walls around it.

    Raises InputError where the guide changes across the plane, for dispersive media and for periodic side walls.
    """
    u, v = (axis + 1) % 3, (axis + 2) % 3
    last = grid.shape[axis]
    if not 1 <= node <= last - 1:
        raise InputError(f"a section at node {node} along {AXES[axis]} needs a cell on each side: use 1 to {last - 1}")
    for side in (u, v):
        if walls.periodic(side):
            raise InputError(f"modes need walls at the sides, and those along {AXES[side]} are periodic")
    whole = ((0, grid.shape[u]), (0, grid.shape[v]))
    limits = whole if window is None else window
    for side, (low, high), (first, end) in zip((u, v), limits, whole, strict=True):
        if not first <= low < high <= end:
            raise InputError(f"the window from node {low} to {high} along {AXES[side]} is not within {first} to {end}")
    _check_uniform(grid, media, axis, node)

    def cut(values: Tensor, at: int = node) -> Tensor:
        plane = torch.stack([values[(axis + 1 + c) % 3].select(axis, at) for c in range(3)]).detach().cpu()
        plane = plane.transpose(1, 2) if axis == 1 else plane  # the remaining axes come as x, z there
        (a, b), (c, d) = limits
        return plane[:, a : b + 1, c : d + 1].clone()

    for side, (_, high) in zip((u, v), limits, strict=True):
        if walls.sides(side)[1] == "pmc" and high == grid.shape[side]:
            raise InputError(
                f"the port reaches the magnetic wall on the high side of {AXES[side]}, which mode ports do not know; "
                "turn the model round to have that wall on the low side"
            )
    mirror = tuple(walls.sides(side)[0] == "pmc" and low == 0 for side, (low, _) in zip((u, v), limits, strict=True))
    metal = _with_walls(cut(media.metal), mirror)
    _check_poles(media, axis, node, limits)
    lines = [
        (
            grid.spacing(side).to("cpu", torch.float64)[low:high],
            grid.dual_spacing(side).to("cpu", torch.float64)[low : high + 1],
        )
        for side, (low, high) in zip((u, v), limits, strict=True)
    ]
    return Section(
        axis=axis,
        node=node,
        low=(limits[0][0], limits[1][0]),
        spacing=(lines[0][0], lines[1][0]),
        dual=(lines[0][1], lines[1][1]),
        step=float(grid.spacing(axis)[node]),
        mirror=(mirror[0], mirror[1]),
        permittivity=cut(media.permittivity).to(torch.float64),
        conductivity=cut(media.conductivity).to(torch.float64),
        permeability=cut(media.permeability).to(torch.float64),
        metal=metal,
    )


def _with_walls(metal: Tensor, mirror: Sequence[bool]) -> Tensor:
    """Marks the edges on the border of the window, and the padding, as metal."""
    for component in range(3):
        for side in range(2):
            metal[component].select(side, -1).fill_(True)
            if component != side and not mirror[side]:
                metal[component].select(side, 0).fill_(True)
    return metal


def _check_uniform(grid: Grid, media: Media, axis: int, node: int) -> None:
    spacing = grid.spacing(axis)
    name, place = AXES[axis], float(grid.nodes(axis)[node]) * 1e3
    if abs(float(spacing[node] / spacing[node - 1]) - 1.0) > 1e-6:
        raise InputError(f"the cells along {name} change at {place:.6g} mm; keep them equal around a port's planes")
    for what in ("permittivity", "conductivity", "permeability", "metal"):
        values = getattr(media, what).detach()
        here, before = values.select(axis + 1, node), values.select(axis + 1, node - 1)
        # Rounding of single precision apart: fill fractions come out of other operations in every plane.
        same = torch.equal(here, before) if what == "metal" else torch.allclose(here, before, rtol=1e-4, atol=0.0)
        if not same:
            raise InputError(
                f"the {what} changes along {name} at {place:.6g} mm; put the port's planes in a uniform guide"
            )


def _check_poles(media: Media, axis: int, node: int, limits: Window) -> None:
    if media.poles is None:
        return
    edges = media.poles.edges.cpu()
    inside = edges[:, 1 + axis] == node
    for side, (low, high) in zip(((axis + 1) % 3, (axis + 2) % 3), limits, strict=True):
        inside &= (edges[:, 1 + side] >= low) & (edges[:, 1 + side] <= high)
    if bool(inside.any()):
        raise InputError(
            "the guide's section has dispersive media or lumped elements; put the port where there are none"
        )


def guide_modes(section: Section, frequency: float, *, count: int = 1, dt: float = 0.0) -> list[Mode]:
    """Returns the `count` modes of the largest effective index at a frequency [Hz], the first the largest.

    dt [s] is the time step of the scheme; 0 stands for continuous time. Modes that fall below cut-off decay along +n.
    Members of a degenerate set are orthogonal, and turned so that the first has most of E_u.

    Raises InputError where nothing can propagate: no open edges, or fewer than `count`.
    """
    if not frequency > 0:
        raise InputError(f"a mode at {frequency:g} Hz: give a positive frequency")
    omega = 2.0 * math.pi * frequency
    rate = omega if dt == 0.0 else 2.0 / dt * math.sin(0.5 * omega * dt)
    operators = _Operators(section, rate, math.cos(0.5 * omega * dt))
    values, vectors = _eigenpairs(operators, count)
    order = np.argsort(-values.real, kind="stable")
    values, vectors = values[order], vectors[:, order]
    values, vectors = _untangled(operators, values, vectors)
    return [_mode(operators, frequency, values[i], vectors[:, i]) for i in range(count)]


class _Operators:
    """Sparse matrices of the section in units of 1 / k, k = Omega / c, with H scaled by the vacuum impedance."""

    def __init__(self, section: Section, rate: float, mean: float) -> None:
        self.section, self.wavenumber = section, rate / SPEED_OF_LIGHT
        epsilon = section.permittivity.numpy().reshape(3, -1)
        sigma = section.conductivity.numpy().reshape(3, -1)
        if sigma.any():  # the conduction current of the scheme is that of the field's mean over a step
            epsilon = epsilon - 1j * sigma * mean / (rate * VACUUM_PERMITTIVITY)
        mu = section.permeability.numpy().reshape(3, -1)
        metal = section.metal.numpy().reshape(3, -1)
        self.open = [~metal[0], ~metal[1]]
        self.du, self.dv = self._differences(forward=True)
        bu, bv = self._differences(forward=False)
        inner = np.where(metal[2], 0.0, 1.0 / epsilon[2])
        self.along = sparse.diags(inner)
        self.around = sparse.diags(1.0 / mu[2])
        curl_h = self.along @ sparse.hstack([bu, -bv])  # acts on (H_v, H_u): i E_n
        curl_e = self.around @ sparse.hstack([-self.dv, self.du])  # acts on (E_u, E_v): i H_n
        to_e = (
            sparse.block_diag([sparse.diags(mu[1]), sparse.diags(-mu[0])]) + sparse.vstack([self.du, self.dv]) @ curl_h
        )
        to_h = (
            sparse.block_diag([sparse.diags(epsilon[0]), sparse.diags(-epsilon[1])]) - sparse.vstack([bv, bu]) @ curl_e
        )
        self.keep = np.flatnonzero(np.concatenate(self.open))
        self.to_e = to_e.tocsr()[self.keep][:, self.keep]
        self.to_h = to_h.tocsr()[self.keep][:, self.keep]
        self.curl_h, self.curl_e = curl_h.tocsr()[:, self.keep], curl_e.tocsr()[:, self.keep]
        # H_v shares the transverse place of E_u: the product is that of the medium, also where metal cuts the edge.
        products = np.concatenate([(epsilon[0] * mu[1])[self.open[0]], (epsilon[1] * mu[0])[self.open[1]]])
        self.largest = float(products.real.max()) if len(products) else 1.0
        self.area = section.areas.numpy().reshape(-1)[self.keep]
        self.sign = np.concatenate([np.ones(metal[0].size), -np.ones(metal[0].size)])[self.keep]

    def _differences(self, *, forward: bool) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
        """Derivatives along u and v: forward ones of E, backward ones of H; in units of the wavenumber."""
        lines = []
        for side in range(2):
            spacing, dual = self.section.spacing[side].numpy(), self.section.dual[side].numpy()
            n = len(dual)
            if forward:
                scale = np.append(1.0 / spacing, 0.0)
                line = sparse.diags([-scale, scale[:-1]], [0, 1], shape=(n, n))
            else:
                diagonal = 1.0 / dual
                line = sparse.diags([diagonal, -diagonal[1:]], [0, -1], shape=(n, n)).tolil()
                if self.section.mirror[side]:
                    line[0, 0] *= 2.0
            lines.append(line / self.wavenumber)
        n_u, n_v = len(self.section.dual[0]), len(self.section.dual[1])
        along_u, along_v = sparse.kron(lines[0], sparse.eye(n_v)), sparse.kron(sparse.eye(n_u), lines[1])
        return along_u.tocsr(), along_v.tocsr()

    def product(self, first: ndarray, second: ndarray) -> ndarray:
        """Sums of E_u H_v - E_v H_u, E of the first set and H of the second (up to its index)."""
        return (first * (self.sign * self.area)[:, None]).T @ (self.to_h @ second)


def _eigenpairs(operators: _Operators, count: int) -> tuple[ndarray, ndarray]:
    matrix = (operators.to_e @ operators.to_h).tocsc()
    size = matrix.shape[0]
    if size < count:
        raise InputError(
            f"the section has {size} open edges, too few for {count} modes; check that it is not all metal"
        )
    wanted = count + 3  # a degenerate set may reach beyond what is asked for
    if size <= max(wanted + 2, 60):
        return np.linalg.eig(matrix.toarray())
    start = np.random.default_rng(0).standard_normal(size)
    try:
        return eigs(matrix, k=wanted, sigma=ABOVE * operators.largest, v0=start, ncv=min(size - 1, 4 * wanted + 20))
    except ArpackNoConvergence as error:
        raise InputError(
            f"only {len(error.eigenvalues)} of {wanted} modes of the section were found; ask for fewer modes, or use a "
            "smaller window"
        ) from error


def _untangled(operators: _Operators, values: ndarray, vectors: ndarray) -> tuple[ndarray, ndarray]:
    """Makes the members of each degenerate set orthogonal, and sorts their polarisations: most E_u first."""
    vectors = vectors.astype(complex)
    start, scale = 0, np.abs(values).max()
    n_first = int(operators.open[0].sum())
    while start < len(values):
        stop = start + 1
        while stop < len(values) and abs(values[stop] - values[start]) < DEGENERATE * scale:
            stop += 1
        block = vectors[:, start:stop] = _rephased(vectors[:, start:stop])
        if stop - start > 1:
            if np.abs(block.imag).max() < 1e-6 * np.abs(block).max():
                block = np.linalg.qr(block.real)[0]
            gram = operators.product(block, block)
            vectors[:, start:stop] = block @ _axes(gram, block, operators.area, n_first)
        start = stop
    return values, vectors


def _axes(gram: ndarray, block: ndarray, area: ndarray, n_first: int) -> ndarray:
    """Returns the mix of a degenerate set that makes both the flux and the share of E_u diagonal."""
    from scipy.linalg import eig

    weighted = block * area[:, None]
    share = weighted[:n_first].T @ block[:n_first]
    found, mix = eig(share, gram)
    return mix[:, np.argsort(-found.real * np.sign(np.trace(gram).real), kind="stable")]


def _rephased(vectors: ndarray) -> ndarray:
    """Turns each vector so that its largest entry is real: the eigenvectors of a lossless guide become real."""
    largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])]
    return vectors * (np.abs(largest) / largest)


def _mode(operators: _Operators, frequency: float, value: complex, vector: ndarray) -> Mode:
    section = operators.section
    index = np.sqrt(complex(value))
    if index.imag > 0 or (index.imag == 0 and index.real < 0):
        index = -index
    longitudinal = index * operators.wavenumber
    beta = complex(longitudinal)
    if section.step:
        beta = complex(2.0 / section.step * np.arcsin(0.5 * longitudinal * section.step))
    beta = beta.conjugate() if beta.imag > 0 else beta
    electric = _rephased(vector[:, None])[:, 0]
    magnetic = operators.to_h @ electric / index
    n = section.metal[0].numel()
    fields = np.zeros((2, 3, n), dtype=complex)
    for which, values in enumerate((electric, magnetic)):
        spread = np.zeros(2 * n, dtype=complex)
        spread[operators.keep] = values
        # Magnetic unknowns come as (H_v, H_u), in the order of the edges that share their places.
        fields[which, [0, 1] if which == 0 else [1, 0]] = spread.reshape(2, n)
    fields[0, 2] = -1j * (operators.curl_h @ magnetic)
    fields[1, 2] = 1j * (operators.curl_e @ electric)
    fields[1] /= VACUUM_IMPEDANCE
    shape = (2, 3, *section.metal.shape[1:])
    e, h = torch.from_numpy(fields.reshape(shape)).unbind(0)
    power = 0.5 * abs(complex(flux(section, e, h)) * np.cos(0.5 * beta * section.step))
    scale = 1.0 / math.sqrt(power)
    return Mode(section=section, frequency=frequency, beta=beta, electric=scale * e, magnetic=scale * h)
