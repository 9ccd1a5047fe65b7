"""A far field and the figures that antenna engineers read from it: directivity, gain, efficiency, polarisation."""

from __future__ import annotations

import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from mindsci.errors import InputError
from mindsci.tree import Tree


class FarField(Tree):
    """r E exp(j k r) along directions, as spectra: of the fields' Fourier sums, or of their peak values."""

    frequencies: Float[Tensor, "f"]
    """[Hz]"""
    theta: Float[Tensor, "*directions"]
    """from the z axis [rad]"""
    phi: Float[Tensor, "*directions"]
    """from x towards y [rad]"""
    electric_theta: Complex[Tensor, "f *directions"]
    """[V s], or [V]"""
    electric_phi: Complex[Tensor, "f *directions"]
    impedance: float
    """of the medium [ohm]"""

    @property
    def intensity(self) -> Float[Tensor, "f *directions"]:
        """Radiated power a solid angle, |r E|^2 / (2 eta) [W s^2 / sr]."""
        return (_square(self.electric_theta) + _square(self.electric_phi)) / (2.0 * self.impedance)

    def gain(self, power: Float[Tensor, "f"]) -> Float[Tensor, "f *directions"]:
        """Returns 4 pi intensity / power, dimensionless.

        It is the directivity against the radiated power, the gain against the power that the port accepts, the realised
        gain against the power incident on it; all in the units of the fields ([W s^2] for Fourier sums).
        """
        return 4.0 * math.pi * self.intensity / self._over_directions(power)

    def circular(self) -> tuple[Complex[Tensor, "f *directions"], Complex[Tensor, "f *directions"]]:
        """Returns the right-hand and the left-hand circular parts (IEEE: seen along the way the wave goes)."""
        right = (self.electric_theta + 1j * self.electric_phi) / math.sqrt(2.0)
        left = (self.electric_theta - 1j * self.electric_phi) / math.sqrt(2.0)
        return right, left

    def axial_ratio(self) -> Float[Tensor, "f *directions"]:
        """Returns the ratio of the axes of the ellipse that E draws: 1 for circular, infinite for linear."""
        right, left = (part.abs() for part in self.circular())
        return (right + left) / (right - left).abs()

    def ludwig(self, slant: float = 0.0) -> tuple[Complex[Tensor, "f *directions"], Complex[Tensor, "f *directions"]]:
        """Returns the co- and the cross-polar part of a source along an angle from x [rad] [Ludwig1973, def. 3]."""
        angle = self.phi - slant
        co = self.electric_theta * angle.cos() - self.electric_phi * angle.sin()
        cross = self.electric_theta * angle.sin() + self.electric_phi * angle.cos()
        return co, cross

    def _over_directions(self, values: Float[Tensor, "f"]) -> Tensor:
        values = torch.as_tensor(values, dtype=torch.float64)
        if values.shape != self.frequencies.shape:
            raise InputError(f"{list(values.shape)} powers for {len(self.frequencies)} frequencies; give one for each")
        return values.reshape(-1, *[1] * self.theta.ndim)


class Sphere(Tree):
    """Directions that cover the sphere, with the solid angle of each [sr]: an integral is a weighted sum."""

    theta: Float[Tensor, "n m"]
    phi: Float[Tensor, "n m"]
    weight: Float[Tensor, "n m"]

    def integral(self, values: Float[Tensor, "f n m"]) -> Float[Tensor, "f"]:
        """Returns the integral over the sphere."""
        return (values * self.weight).sum(dim=(-2, -1))


def sphere_directions(n_theta: int = 37, n_phi: int = 72) -> Sphere:
    """Returns directions at Gauss points in cos(theta) and even steps in phi.

    The integral is exact for spherical harmonics up to 2 n_theta - 1 and n_phi - 1: for power, take more of each than
    2 k a + 10 for sources within the radius a.
    """
    import numpy as np

    points, weights = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(n_theta))
    phi = 2.0 * math.pi * torch.arange(n_phi, dtype=torch.float64) / n_phi
    theta, phi = torch.meshgrid(points.flip(0).acos(), phi, indexing="ij")
    weight = (2.0 * math.pi / n_phi * weights.flip(0))[:, None].expand_as(theta)
    return Sphere(theta=theta, phi=phi, weight=weight)


def efficiency(radiated: Float[Tensor, "f"], accepted: Float[Tensor, "f"]) -> Float[Tensor, "f"]:
    """Returns the radiation efficiency: radiated over accepted power, in the same unit."""
    return radiated / accepted


def _square(value: Tensor) -> Tensor:
    return value.real**2 + value.imag**2
