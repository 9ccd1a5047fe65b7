"""Energies of pairs as functions of their distance: Lennard-Jones and Coulomb with their ways to end [eV]."""

from __future__ import annotations

import math

import numpy
import torch
from jaxtyping import Float
from torch import Tensor

from sponge.forcefield.options import Options


def lennard_jones(
    r: Float[Tensor, "*pairs"], sigma: Float[Tensor, "*pairs"], epsilon: Float[Tensor, "*pairs"], options: Options
) -> Float[Tensor, "*pairs"]:
    """Returns the Lennard-Jones energies at distances within the cutoff, ended as the options say.

    The switch is 1 - 10 x^3 + 15 x^4 - 6 x^5, x from 0 to 1; the force shift takes off a line [Toxvaerd2011].
    """
    energy = full_lennard_jones(r, sigma, epsilon)
    way, cutoff = options.lennard_jones, options.cutoff
    if way == "switch":
        begin = float(options.switch_from or 0.0)
        x = ((r - begin) / (cutoff - begin)).clamp(min=0.0)
        return energy * (1.0 - x**3 * (10.0 - 15.0 * x + 6.0 * x * x))
    if way in ("potential_shift", "force_shift"):
        y6 = (sigma / cutoff) ** 6
        energy = energy - 4.0 * epsilon * (y6 * y6 - y6)
        if way == "force_shift":
            energy = energy + (r - cutoff) * 24.0 * epsilon / cutoff * (2.0 * y6 * y6 - y6)
    return energy


def full_lennard_jones(
    r: Float[Tensor, "*pairs"], sigma: Float[Tensor, "*pairs"], epsilon: Float[Tensor, "*pairs"]
) -> Float[Tensor, "*pairs"]:
    """Returns 4 epsilon ((sigma / r)^12 - (sigma / r)^6)."""
    x6 = (sigma / r) ** 6
    return 4.0 * epsilon * (x6 * x6 - x6)


def dispersion_share(r: Float[Tensor, "*pairs"], alpha: float) -> Float[Tensor, "*pairs"]:
    """Returns what the sum over waves has of 1 / r^6 [1/angstrom^6]: the rest falls as exp(-alpha^2 r^2).

    1 - exp(-b^2) (1 + b^2 + b^4 / 2) over r^6, b = alpha r [Essmann1995, section V].
    """
    square = (alpha * r) ** 2
    return (1.0 - torch.exp(-square) * (1.0 + square * (1.0 + 0.5 * square))) / r**6


def coulomb_shape(r: Float[Tensor, " pairs"], options: Options) -> Float[Tensor, " pairs"]:
    """Returns what stands for 1/r within the cutoff [1/angstrom].

    Reaction field [Tironi1995], zero at the cutoff; damped shifted force [Fennell2006, eq. 18], without the constant
    self term; the real-space part of the Ewald sum.
    """
    way, cutoff = options.coulomb, options.cutoff
    if way == "reaction_field":
        dielectric = options.dielectric
        slope = (dielectric - 1.0) / (2.0 * dielectric + 1.0) / cutoff**3
        return 1.0 / r + slope * r * r - 3.0 * dielectric / (2.0 * dielectric + 1.0) / cutoff
    if way == "shifted_force":
        alpha = options.damping
        end = math.erfc(alpha * cutoff) / cutoff
        slope = end / cutoff + 2.0 * alpha / math.sqrt(math.pi) * math.exp(-((alpha * cutoff) ** 2)) / cutoff
        return torch.erfc(alpha * r) / r - end + slope * (r - cutoff)
    return torch.erfc(options.alpha * r) / r if options.splits else 1.0 / r


def long_range_correction(
    counts: Float[Tensor, "systems kinds"],
    volume: Float[Tensor, " systems"],
    sigma: Float[Tensor, "kinds kinds"],
    epsilon: Float[Tensor, "kinds kinds"],
    options: Options,
) -> Float[Tensor, " systems"]:
    """Returns 2 pi / V sum_ab N_a N_b times the integral of r^2 (u_full - u) over all r [AllenTildesley2017].

    Its derivative with the cell is the correction of the pressure, but where the energy jumps at the cutoff: see
    `virial_of_the_step`.
    """
    cutoff = options.cutoff
    tail = 4.0 * epsilon * (sigma**12 / (9.0 * cutoff**9) - sigma**6 / (3.0 * cutoff**3))
    if options.lennard_jones == "switch":
        begin = float(options.switch_from or 0.0)
        # Gauss-Legendre: the integrand is a sum of powers, smooth between the two ends.
        nodes, weights = numpy.polynomial.legendre.leggauss(48)
        for node, weight in zip(nodes.tolist(), weights.tolist(), strict=True):
            r = torch.full_like(sigma, begin + 0.5 * (cutoff - begin) * (node + 1.0))
            missing = full_lennard_jones(r, sigma, epsilon) - lennard_jones(r, sigma, epsilon, options)
            tail = tail + 0.5 * (cutoff - begin) * weight * r * r * missing
    of_each = counts.to(tail.dtype)
    return 2.0 * math.pi / volume * torch.einsum("sa,sb,ab->s", of_each, of_each, tail)


def virial_of_the_step(
    counts: Float[Tensor, "systems kinds"],
    volume: Float[Tensor, " systems"],
    sigma: Float[Tensor, "kinds kinds"],
    epsilon: Float[Tensor, "kinds kinds"],
    options: Options,
) -> Float[Tensor, " systems"]:
    """Returns 2 pi / 3 V sum_ab N_a N_b cutoff^3 u_ab(cutoff), what pairs that cross the cutoff add to P V [eV].

    A volume that grows takes pairs beyond the cutoff, where their energy ends without a slope: no force shows it. With
    it the pressure is that of the whole interaction beyond the cutoff, -2 pi / 3 V^2 sum_ab N_a N_b times the integral
    of r^3 du/dr [AllenTildesley2017, eq. 2.144], and that of which the volume fluctuates at constant pressure. 0 where
    the energy ends smoothly, or is not corrected.
    """
    if options.lennard_jones != "cutoff" or not options.long_range_correction:
        return torch.zeros_like(volume)
    ends = full_lennard_jones(torch.full_like(sigma, options.cutoff), sigma, epsilon)
    of_each = counts.to(ends.dtype)
    return 2.0 * math.pi * options.cutoff**3 / (3.0 * volume) * torch.einsum("sa,sb,ab->s", of_each, of_each, ends)
