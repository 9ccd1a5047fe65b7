"""Dispersion as poles: Debye, Drude and Lorentz media, and any sum of conjugate pole-residue pairs [Han2006].

Time dependence is exp(+j omega t), s = j omega, so a passive medium has Im epsilon <= 0. A pole adds

    (s jump + drive) / (s (s - rate))

to the relative permittivity, and its complex conjugate (of s and of the numbers) where the rate is not real.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Sequence

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from elec.numbers import Real, Scalar, conjugate, plain, plain_real
from mindsci.errors import InputError
from mindsci.tree import Tree

# A Lorentz medium or a series circuit damped critically has a double pole; a damping this fraction away from it has two
# simple ones.
APART = 1e-6
# Gain below this fraction of |epsilon - epsilon_infinity| is rounding.
ROUNDING = 1e-9


class Pole(Tree):
    """A term of the relative permittivity; its numbers may be tensors, for gradients."""

    rate: Scalar
    """[1/s], with no positive real part"""
    jump: Scalar = 0.0
    """residue [1/s]"""
    drive: Scalar = 0.0
    """[1/s^2]"""

    def __post_init__(self) -> None:
        numbers = [plain(number) for number in (self.rate, self.jump, self.drive)]
        if not all(cmath.isfinite(number) for number in numbers) or numbers[0].real > 0:
            raise InputError(
                f"pole of rate {numbers[0]:.4g} 1/s: its numbers must be finite, the rate without a positive real part"
            )
        if self.is_real and any(number.imag != 0.0 for number in numbers):
            raise InputError(f"pole of rate {numbers[0]:.4g} 1/s: with a real rate its strengths must be real too")

    @property
    def is_real(self) -> bool:
        return plain(self.rate).imag == 0.0

    @property
    def copies(self) -> float:
        """1 for a real pole; 2 where it stands for a conjugate pair, of which the real part counts."""
        return 1.0 if self.is_real else 2.0

    def susceptibility(self, s: Complex[Tensor, "f"]) -> Complex[Tensor, "f"]:
        """Returns what the pole adds to the relative permittivity at s [1/s]."""
        first = (s * self.jump + self.drive) / (s * (s - self.rate))
        if self.is_real:
            return first
        rate, jump, drive = (conjugate(number) for number in (self.rate, self.jump, self.drive))
        return first + (s * jump + drive) / (s * (s - rate))


def debye(strength: Real, relaxation_time: Real) -> tuple[Pole, ...]:
    """Returns the pole of strength / (1 + s tau), tau the relaxation time [s] [Taflove2005, sec. 9.2]."""
    time = plain_real(relaxation_time)
    if not (math.isfinite(time) and time > 0):
        raise InputError(f"relaxation time {time:g} s must be positive; water has about 8 ps")
    return (Pole(rate=-1.0 / relaxation_time, jump=strength / relaxation_time),)


def drude(plasma_frequency: Real, damping: Real) -> tuple[Pole, ...]:
    """Returns the pole of (2 pi f_p)^2 / (s^2 + s gamma): f_p [Hz], gamma [1/s] [Taflove2005, sec. 9.2]."""
    _not_negative("damping", damping, "1/s")
    return (Pole(rate=-damping, drive=(2.0 * math.pi * plasma_frequency) ** 2),)


def lorentz(strength: Real, frequency: Real, damping: Real) -> tuple[Pole, ...]:
    """Returns the poles of strength omega0^2 / (omega0^2 + s gamma + s^2): frequency omega0 / 2 pi [Hz], gamma [1/s].

    gamma is the full width of the absorption line. [Taflove2005, sec. 9.2] writes 2 delta for it.
    """
    _not_negative("damping", damping, "1/s")
    place = plain_real(frequency)
    if not (math.isfinite(place) and place > 0):
        raise InputError(f"Lorentz frequency {place:g} Hz must be positive; for a free carrier use Drude")
    omega = 2.0 * math.pi * frequency
    half = off_critical(0.5 * damping, omega)
    between = _root(half**2 - omega**2)
    first = -half + between
    residue = strength * omega**2 / (2.0 * between)
    if plain_real(half) < plain_real(omega):
        return (Pole(rate=first, jump=residue),)
    return (Pole(rate=first.real, jump=residue.real), Pole(rate=(-half - between).real, jump=-residue.real))


def off_critical(half: Real, omega: Real) -> Real:
    """Returns half the damping [1/s] of a resonance omega [1/s], off the critical one: its pole would be double."""
    near = abs(plain_real(half) - plain_real(omega)) < APART * plain_real(omega)
    return omega * (1.0 - APART) if near else half


def _root(number: Real) -> Scalar:
    """The complex square root."""
    if isinstance(number, Tensor):
        return torch.sqrt(number.to(torch.complex128))
    return cmath.sqrt(number)


def _not_negative(name: str, value: Real, unit: str) -> None:
    number = plain_real(value)
    if not (math.isfinite(number) and number >= 0):
        raise InputError(f"{name} {number:g} {unit} must be a finite number of at least 0")


def susceptibility(poles: Sequence[Pole], frequencies: Float[Tensor, "f"]) -> Complex[Tensor, "f"]:
    """Returns what poles add to the relative permittivity at frequencies [Hz]."""
    s = 2j * math.pi * torch.as_tensor(frequencies, dtype=torch.float64)
    total = torch.zeros_like(s)
    for pole in poles:
        total = total + pole.susceptibility(s)
    return total


def gain(poles: Sequence[Pole]) -> tuple[float, float]:
    """Returns the largest Im epsilon over |epsilon - epsilon_infinity|, and its frequency [Hz].

    Looked for over six decades around each pole and across each resonance; not above zero in a passive medium.
    """
    if not poles:
        return 0.0, 0.0
    poles = [Pole(rate=plain(pole.rate), jump=plain(pole.jump), drive=plain(pole.drive)) for pole in poles]
    omegas = []
    for pole in poles:
        size, width = max(abs(pole.rate), 1.0), max(abs(complex(pole.rate).real), 1e-9 * abs(pole.rate))
        omegas += [size * torch.logspace(-3.0, 3.0, 601, dtype=torch.float64)]
        omegas += [abs(complex(pole.rate).imag) + width * torch.linspace(-20.0, 20.0, 401, dtype=torch.float64)]
    omega = torch.cat(omegas)
    omega = omega[omega > 0]
    value = susceptibility(poles, omega / (2.0 * math.pi))
    relative = torch.where(value.isfinite(), value.imag / value.abs().clamp(min=1e-30), 0.0)
    worst = int(relative.argmax())
    return float(relative[worst]), float(omega[worst]) / (2.0 * math.pi)


def check_passive(name: str, poles: Sequence[Pole]) -> None:
    """Raises InputError where the poles of a material give energy to the field at some frequency."""
    most, frequency = gain(poles)
    if most > ROUNDING:
        raise InputError(
            f"material '{name}': its poles give energy to the field, most near {frequency:.4g} Hz (Im epsilon > 0 with "
            "exp(+j omega t)); check the signs of the residues, or fit again with elec.materials.fit_material"
        )
