"""Scattering of a plane wave by a sphere: the Mie series in float64, outside and inside [BohrenHuffman1983, ch. 4].

Convention exp(-i omega t) of the book: a lossy medium has a positive imaginary part of its index.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

Complex = NDArray[np.complex128]
Real = NDArray[np.float64]


def order_limit(x: float) -> int:
    """Returns how many orders the series needs [Wiscombe1980], with some to spare."""
    return math.ceil(x + 4.05 * x ** (1.0 / 3.0) + 10)


def _riccati(n: NDArray[np.int64], z: complex, *, outgoing: bool = False) -> tuple[Complex, Complex]:
    """psi_n (or xi_n) and its derivative at z."""
    j = special.spherical_jn(n, z)
    dj = special.spherical_jn(n, z, derivative=True)
    if outgoing:
        j = j + 1j * special.spherical_yn(n, z)
        dj = dj + 1j * special.spherical_yn(n, z, derivative=True)
    return z * j, j + z * dj


def coefficients(x: float, index: complex | None) -> tuple[Complex, Complex]:
    """Returns a_n, b_n from n = 1 of a sphere of size x = k a; index None is a perfect conductor."""
    n = np.arange(1, order_limit(x) + 1)
    psi, dpsi = _riccati(n, x)
    xi, dxi = _riccati(n, x, outgoing=True)
    if index is None:
        return dpsi / dxi, psi / xi
    inner, dinner = _riccati(n, index * x)
    a = (index * inner * dpsi - psi * dinner) / (index * inner * dxi - xi * dinner)
    b = (inner * dpsi - index * psi * dinner) / (inner * dxi - index * xi * dinner)
    return a, b


def efficiencies(x: float, index: complex | None) -> dict[str, float]:
    """Returns Q of scattering, extinction, absorption and back-scattering (sigma_back / (pi a^2))."""
    a, b = coefficients(x, index)
    n = np.arange(1, len(a) + 1)
    scattered = 2.0 / x**2 * float(np.sum((2 * n + 1) * (np.abs(a) ** 2 + np.abs(b) ** 2)))
    extinct = 2.0 / x**2 * float(np.sum((2 * n + 1) * (a + b).real))
    back = float(np.abs(np.sum((2 * n + 1) * (-1.0) ** n * (a - b))) ** 2) / x**2
    return {"scattering": scattered, "extinction": extinct, "absorption": extinct - scattered, "back": back}


def amplitudes(x: float, index: complex | None, theta: Real) -> tuple[Complex, Complex]:
    """Returns S1 and S2 at scattering angles: across and in the plane of scattering; sigma = 4 pi |S|^2 / k^2."""
    a, b = coefficients(x, index)
    n = np.arange(1, len(a) + 1)
    pi, tau = _angular(len(a), np.cos(theta))
    factor = (2 * n + 1) / (n * (n + 1))
    return (factor * a) @ pi + (factor * b) @ tau, (factor * a) @ tau + (factor * b) @ pi


def _angular(count: int, mu: Real) -> tuple[Real, Real]:
    """pi_n and tau_n, orders first."""
    pi, tau = np.zeros((count + 1, *mu.shape)), np.zeros((count + 1, *mu.shape))
    pi[1] = 1.0
    tau[1] = mu
    for n in range(2, count + 1):
        pi[n] = ((2 * n - 1) * mu * pi[n - 1] - n * pi[n - 2]) / (n - 1)
        tau[n] = n * mu * pi[n] - (n + 1) * pi[n - 1]
    return pi[1:], tau[1:]


def interior_field(x: float, index: complex, radius: float, points: Real) -> Complex:
    """Returns E at points [m] inside a sphere about the origin, last axis x, y, z, for 1 V/m along x, wave along z."""
    n = np.arange(1, order_limit(x) + 1)
    psi, dpsi = _riccati(n, x)
    xi, dxi = _riccati(n, x, outgoing=True)
    inner, dinner = _riccati(n, index * x)
    wronskian = psi * dxi - xi * dpsi
    c = index * wronskian / (inner * dxi - index * xi * dinner)
    d = index * wronskian / (index * inner * dxi - xi * dinner)
    flat = points.reshape(-1, 3)
    r = np.maximum(np.linalg.norm(flat, axis=1), 1e-9 * radius)
    cos = np.clip(np.where(r > 2e-9 * radius, flat[:, 2] / r, 1.0), -1.0, 1.0)
    sin, phi = np.sqrt(1.0 - cos**2), np.arctan2(flat[:, 1], flat[:, 0])
    rho = index * x * r / radius
    j = special.spherical_jn(n[:, None], rho)
    slope = j / rho + special.spherical_jn(n[:, None], rho, derivative=True)
    pi, tau = _angular(len(n), cos)
    weight = 1j**n * (2 * n + 1) / (n * (n + 1))
    radial = np.cos(phi) * ((-1j * weight * d * n * (n + 1)) @ (sin * pi * j / rho))
    polar = np.cos(phi) * ((weight * c) @ (pi * j) - 1j * ((weight * d) @ (tau * slope)))
    azimuthal = np.sin(phi) * (-((weight * c) @ (tau * j)) + 1j * ((weight * d) @ (pi * slope)))
    cp, sp = np.cos(phi), np.sin(phi)
    field = np.stack(
        [
            radial * sin * cp + polar * cos * cp - azimuthal * sp,
            radial * sin * sp + polar * cos * sp + azimuthal * cp,
            radial * cos - polar * sin,
        ],
        axis=-1,
    )
    return field.reshape(points.shape)
