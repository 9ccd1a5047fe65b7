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

import math

import numpy as np
import scipy.sparse as sparse
import torch
from jaxtyping import Complex
from numpy import ndarray
from scipy.sparse.linalg import ArpackNoConvergence, eigs
from torch import Tensor

from elec.ports.section import Section
from mindsci.errors import InputError
from mindsci.tree import Tree
from mindsci.units import SPEED_OF_LIGHT, VACUUM_IMPEDANCE, VACUUM_PERMITTIVITY

# Effective indices squared that differ by less than this fraction belong to one degenerate set.
DEGENERATE = 1e-8
# The search starts a little above the largest index squared of the media: on an eigenvalue the matrix is singular.
ABOVE = 1.01


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
