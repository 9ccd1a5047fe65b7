"""One mode over a band: its propagation constant, impedance and profile between a few frequencies where it is solved.

With the rates Omega and K of the scheme (`elec.ports.modes`), K^2 and Z K Omega are linear in Omega^2 for every mode of
a homogeneous guide: TE has Z = Omega mu / K, TM has Z = K / (Omega eps), TEM has Z and K / Omega constant [Pozar2012,
ch. 3]. Their interpolation in Omega^2 is thus exact there from two frequencies, below cut-off too, and smooth where
the guide is inhomogeneous. Profiles, normalised apart from the impedance, do not change in a homogeneous guide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from elec.ports.modes import Mode, flux, guide_modes
from elec.ports.section import Section
from mindsci.errors import InputError
from mindsci.tree import Tree

# Profiles that differ by less than this everywhere are one: what is left is the rounding of the eigenvalue search.
SAME_PROFILE = 1e-6
# A mode found again at another frequency must share this much of its flux with the first.
SAME_MODE = 0.5


class ModeFamily(Tree):
    """A mode at some frequencies, the first of which is the central one; profiles have sum of E x H equal to one."""

    section: Section
    modes: tuple[Mode, ...]
    dt: float
    """[s]"""
    electric: Complex[Tensor, "profiles 2 u v"]
    """E_u, E_v with sum E E area = 1 [1/m]; one where the profile does not change, else one a mode"""
    magnetic: Complex[Tensor, "profiles 2 u v"]
    """H_u, H_v with sum E x H area = 1 [1/m]"""

    @property
    def frequencies(self) -> Float[Tensor, "modes"]:
        return torch.tensor([mode.frequency for mode in self.modes], dtype=torch.float64)

    def rate(self, frequencies: Float[Tensor, "f"]) -> Float[Tensor, "f"]:
        """Returns Omega [rad/s]."""
        omega = 2.0 * math.pi * frequencies.to(torch.float64)
        return omega if self.dt == 0.0 else 2.0 / self.dt * torch.sin(0.5 * omega * self.dt)

    def shares(self, frequencies: Float[Tensor, "f"]) -> Float[Tensor, "f modes"]:
        """Returns the weights of Lagrange's interpolation in Omega^2."""
        nodes = self.rate(self.frequencies) ** 2
        x = self.rate(frequencies) ** 2
        columns = []
        for j in range(len(nodes)):
            others = torch.cat([nodes[:j], nodes[j + 1 :]])
            columns.append(((x[:, None] - others) / (nodes[j] - others)).prod(dim=1))
        return torch.stack(columns, dim=1)

    def _longitudinal(self, frequencies: Tensor) -> Complex[Tensor, "f"]:
        """K [rad/m]: positive, or with a negative imaginary part."""
        solved = torch.tensor([_rate_along(mode) ** 2 for mode in self.modes], dtype=torch.complex128)
        root = (self.shares(frequencies).to(torch.complex128) @ solved).sqrt()
        wrong = (root.imag > 0) | ((root.imag == 0) & (root.real < 0))
        return torch.where(wrong, -root, root)

    def beta(self, frequencies: Float[Tensor, "f"]) -> Complex[Tensor, "f"]:
        """Returns the propagation constant of the scheme [rad/m]."""
        step = self.section.step
        return 2.0 / step * torch.asin(0.5 * step * self._longitudinal(frequencies))

    def wave_impedance(self, frequencies: Float[Tensor, "f"]) -> Complex[Tensor, "f"]:
        """Returns the ratio of the transverse fields [ohm]."""
        solved = [mode.wave_impedance * _rate_along(mode) for mode in self.modes]
        scaled = torch.tensor(solved, dtype=torch.complex128) * self.rate(self.frequencies)
        product = self.shares(frequencies).to(torch.complex128) @ scaled
        return product / (self._longitudinal(frequencies) * self.rate(frequencies))

    def mix(self, frequencies: Float[Tensor, "f"]) -> Complex[Tensor, "f profiles"]:
        """Returns the weights that make the profile's overlap at each frequency out of those of the profiles.

        The overlap of the interpolated profile with itself is divided out.
        """
        shares = self.shares(frequencies).to(torch.complex128)
        if len(self.electric) == 1:
            return torch.ones(len(frequencies), 1, dtype=torch.complex128)
        pairs = [[flux(self.section, e, h) for h in self.magnetic] for e in self.electric]
        gram = torch.stack([torch.stack(row) for row in pairs])
        return shares / torch.einsum("fi,ij,fj->f", shares, gram, shares)[:, None]


def mode_family(section: Section, frequencies: Sequence[float], *, index: int = 0, dt: float = 0.0) -> ModeFamily:
    """Returns the mode of an index (0 has the largest beta at the first frequency) followed over frequencies [Hz].

    Raises InputError for fewer than two different frequencies, and where the mode is not found again at one of them.
    """
    if len(set(frequencies)) != len(frequencies) or len(frequencies) < 2:
        raise InputError(f"a mode is followed over at least two different frequencies, not {list(frequencies)}")
    first = guide_modes(section, frequencies[0], count=index + 1, dt=dt)[index]
    modes, profiles = [first], [_profile(first)]
    for frequency in frequencies[1:]:
        found = guide_modes(section, frequency, count=index + 2, dt=dt)
        overlaps = [complex(flux(section, _profile(mode)[0], profiles[0][1])) for mode in found]
        best = max(range(len(found)), key=lambda i: abs(overlaps[i]))
        if abs(overlaps[best]) < SAME_MODE:
            raise InputError(
                f"mode {index} of {frequencies[0] / 1e9:.6g} GHz is not among the first {len(found)} modes at "
                f"{frequency / 1e9:.6g} GHz; narrow the band"
            )
        e, h = _profile(found[best])
        sign = 1.0 if overlaps[best].real >= 0 else -1.0
        modes.append(found[best])
        profiles.append((sign * e, sign * h))
    electric, magnetic = (torch.stack(part) for part in zip(*profiles, strict=True))
    if all(_same(part) for part in (electric, magnetic)):
        electric, magnetic = electric[:1], magnetic[:1]
    return ModeFamily(section=section, modes=tuple(modes), dt=dt, electric=electric, magnetic=magnetic)


def _rate_along(mode: Mode) -> complex:
    """K of a mode [rad/m]."""
    return complex(2.0 / mode.section.step * torch.sin(torch.tensor(0.5 * mode.beta * mode.section.step)))


def _profile(mode: Mode) -> tuple[Tensor, Tensor]:
    e = mode.electric[:2]
    e = e / (e * e * mode.section.areas).sum().sqrt()
    h = mode.magnetic[:2]
    return e, h / flux(mode.section, e, h)


def _same(profiles: Tensor) -> bool:
    return bool((profiles - profiles[:1]).abs().max() < SAME_PROFILE * profiles[0].abs().max())
