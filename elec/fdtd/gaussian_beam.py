"""A Gaussian beam of any waist in a homogeneous medium, by its angular spectrum.

At each frequency the beam is a sum of plane waves with the weights exp(-(w k_t / 2)^2), k_t the wave number across its
axis [Novotny2012, sec. 3.2]; evanescent waves are left out. The fields of each are the transverse ones of the axis,
turned to its own direction as a lens does [Richards1959], so that E and H spread alike.

For k w above some ten the width is w(z) = w sqrt(1 + (z / z_R)^2), z_R = k w^2 / 2, and the phase on the axis runs
ahead of a plane wave's by the Gouy phase atan(z / z_R).
"""

from __future__ import annotations

import functools
import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from elec.fdtd.harmonics import transverse, unit_vector
from mindsci.errors import InputError
from mindsci.tree import Tree
from mindsci.units import SPEED_OF_LIGHT, VACUUM_IMPEDANCE

STEEPEST, SHALLOW = 0.5, 0.05
"""Cosines to the beam's axis between which plane waves fade out: a spectrum that ends abruptly has no end in space."""


class GaussianBeam(Tree):
    """A beam in a homogeneous medium, given by its narrowest place."""

    waist: float
    """radius at the focus where the field is 1 / e of that on the axis [m]"""
    focus: tuple[float, float, float]
    """[m]"""
    direction: tuple[float, float, float]
    """of travel; need not be of unit length"""
    polarisation: tuple[float, float, float]
    """of the electric field on the axis; its part along the direction is dropped"""
    permittivity: float = 1.0
    permeability: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.waist) and self.waist > 0):
            raise InputError(f"the beam's waist of {self.waist:g} m must be positive")
        _ = self.axes

    @functools.cached_property
    def axes(self) -> tuple[Float[Tensor, "3"], Float[Tensor, "3"]]:
        """Unit vectors along the beam and along its electric field."""
        u = unit_vector(self.direction, "direction")
        return u, transverse(self.polarisation, u)

    def wavenumber(self, frequency: float) -> float:
        """Returns k [rad/m]."""
        return 2.0 * math.pi * frequency / SPEED_OF_LIGHT * math.sqrt(self.permittivity * self.permeability)

    def rayleigh_length(self, frequency: float) -> float:
        """Returns k w^2 / 2 [m]: that far from the focus the beam is sqrt(2) times as wide."""
        return 0.5 * self.wavenumber(frequency) * self.waist**2

    def radius(self, distance: float, frequency: float) -> float:
        """Returns w(z) [m] of the paraxial beam at a distance [m] from the focus."""
        return self.waist * math.hypot(1.0, distance / self.rayleigh_length(frequency))

    def part(self, unit: Float[Tensor, "*n 3"], k: float) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n 3"]]:
        """Returns weight and electric vector of plane waves in directions of unit length, wave number k [rad/m]."""
        u, p = self.axes
        along = unit @ u
        x = ((along - SHALLOW) / (STEEPEST - SHALLOW)).clamp(0.0, 1.0)
        lens = x**4 * (35.0 - 84.0 * x + 70.0 * x**2 - 20.0 * x**3)
        weight = torch.exp(-((0.5 * self.waist * k) ** 2) * (1.0 - along**2)) * lens
        turned = (unit @ p / (1.0 + along.clamp(min=0.0)))[..., None]
        return weight, p - turned * (u + unit)

    def field(self, points: Float[Tensor, "n 3"], frequency: float) -> Complex[Tensor, "n 3"]:
        """Returns the beam's electric field at points [m], 1 V/m on the axis at the focus, phase zero there."""
        k, (unit, area, weight, electric) = self.wavenumber(frequency), self._directions(points, frequency)
        share = weight * area
        scale = (share * (electric @ self.axes[1])).sum()
        focus = torch.tensor(self.focus, dtype=torch.float64)
        phase = torch.exp(-1j * k * ((points - focus) @ unit.T))
        return phase @ (share[:, None] * electric / scale).to(torch.complex128)

    def power(self, frequency: float) -> float:
        """Returns the power [W] for 1 V/m at the focus; pi w^2 / (4 eta) where k w is large."""
        k = self.wavenumber(frequency)
        unit, area, weight, electric = self._directions(torch.tensor([self.focus], dtype=torch.float64), frequency)
        scale = (weight * area * (electric @ self.axes[1])).sum()
        eta = VACUUM_IMPEDANCE * math.sqrt(self.permeability / self.permittivity)
        flux = (weight**2 * (unit @ self.axes[0]) * area).sum() / scale**2
        return float(flux) * (2.0 * math.pi) ** 2 / (2.0 * eta * k**2)

    def _directions(self, points: Tensor, frequency: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Directions of half a sphere; the area of each in the plane across the axis, over k^2; weight and E."""
        k, (u, p) = self.wavenumber(frequency), self.axes
        reach = float((points - torch.tensor(self.focus, dtype=torch.float64)).norm(dim=1).max())
        widest = math.asin(min(1.0, 10.0 / (k * self.waist)))
        rings = 32 + math.ceil(0.5 * k * reach * widest**2) + math.ceil(k * reach * widest / 2.0)
        spokes = 16 + 2 * math.ceil(k * reach * math.sin(widest))
        from numpy.polynomial.legendre import leggauss

        nodes, weights = (torch.from_numpy(part) for part in leggauss(rings))
        theta = 0.5 * widest * (nodes + 1.0)
        phi = 2.0 * math.pi / spokes * torch.arange(spokes, dtype=torch.float64)
        q = torch.linalg.cross(u, p)
        around = phi.cos()[:, None] * p + phi.sin()[:, None] * q
        unit = theta.sin()[:, None, None] * around + theta.cos()[:, None, None] * u
        area = (0.5 * widest * weights * theta.sin() * theta.cos())[:, None].expand(rings, spokes)
        unit = unit.reshape(-1, 3)
        weight, electric = self.part(unit, k)
        return unit, area.reshape(-1) * 2.0 * math.pi / spokes, weight, electric
