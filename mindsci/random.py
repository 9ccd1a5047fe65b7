"""Random numbers that are pure functions of (seed, counter, element): nothing to save, nothing to replay.

A checkpointed, reversed, resumed or re-batched simulation sees the same noise because nothing is drawn
from a hidden generator. The hash is the finaliser of SplitMix64 [Steele2014]; it passes BigCrush as a
counter-based generator, and needs only the wrapping 64-bit integer products that every device has.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)  # 2^64 / golden ratio, as a signed integer
_FIRST = 0xBF58476D1CE4E5B9 - (1 << 64)
_SECOND = 0x94D049BB133111EB - (1 << 64)


def normal(like: Tensor, *, seed: int | Tensor, counter: int | Tensor, element: Tensor | None = None) -> Tensor:
    """Returns standard normal values with the shape, dtype and device of `like`.

    Args:
        seed, counter: integers, or integer tensors that broadcast against `like` (one seed a system).
        element: integer number of each value, broadcast against `like`; its position in `like` unless
            given. With the number of an atom within its own system, a system sees the same noise alone
            and in a batch.
    """
    if element is None:
        element = torch.arange(like.numel(), device=like.device).reshape(like.shape)
    base = _mix(_mix(_integers(seed, like)) + _integers(counter, like))
    key = _mix(base + element)
    # Box-Muller. The radius uses 1 - u in (0, 1], the angle an independent hash of the same key.
    radius = torch.sqrt(-2.0 * torch.log1p(-_uniform(key)))
    angle = (2.0 * math.pi) * _uniform(_mix(key))
    return (radius * torch.cos(angle)).to(like.dtype).expand(like.shape)


def uniform(like: Tensor, *, seed: int | Tensor, counter: int | Tensor, element: Tensor | None = None) -> Tensor:
    """Returns values uniform on [0, 1) with the shape, dtype and device of `like`; arguments as for `normal`."""
    if element is None:
        element = torch.arange(like.numel(), device=like.device).reshape(like.shape)
    base = _mix(_mix(_integers(seed, like)) + _integers(counter, like))
    return _uniform(_mix(base + element)).to(like.dtype).expand(like.shape)


TRIES = 12
"""draws of the rejection method; each is accepted with 0.95 or more, so that none is in 3e-16 of all cases"""


def chi_squared(degrees: Tensor, *, seed: Tensor, counter: int | Tensor) -> Tensor:
    """Returns chi-squared values with so many degrees of freedom (any real number from 0), one for each seed.

    By the rejection method of [Marsaglia2000], with a fixed number of draws: no loop waits for the values. Uses the
    elements from 1 on of (seed, counter).
    """
    shape = 0.5 * degrees.double()[:, None]
    # Below 1 the value of shape + 1 is taken times a power of a uniform one [Marsaglia2000, sec. 6].
    d = torch.where(shape < 1, shape + 1, shape) - 1.0 / 3.0
    tries = torch.arange(1, TRIES + 1, device=degrees.device)[None]
    like = d.expand(-1, TRIES)
    x = normal(like, seed=seed[:, None], counter=counter, element=tries)
    u = uniform(like, seed=seed[:, None], counter=counter, element=tries + TRIES)
    v = (1.0 + x / torch.sqrt(9.0 * d)) ** 3
    inside = v > 0
    v = torch.where(inside, v, 1.0)
    accepted = inside & (torch.log1p(-u) < 0.5 * x**2 + d * (1.0 - v + torch.log(v)))
    found = (d * v).gather(1, accepted.double().argmax(1, keepdim=True))
    boost = uniform(found, seed=seed[:, None], counter=counter, element=torch.full_like(seed[:, None], 2 * TRIES + 1))
    power = torch.where(shape > 0, 1.0 / torch.where(shape > 0, shape, 1.0), 0.0)
    value = torch.where(shape < 1, found * (1.0 - boost) ** power, found)
    return 2.0 * torch.where(shape > 0, value, 0.0)[:, 0].to(degrees.dtype)


def stream(seed: int, number: Tensor) -> Tensor:
    """Returns the seed of each numbered stream of a seed: streams of neighbouring seeds or numbers share nothing."""
    return _mix(_mix(_integers(seed, number)) ^ _mix(_integers(number, number) + _FIRST))


def _integers(value: int | Tensor, like: Tensor) -> Tensor:
    return torch.as_tensor(value, dtype=torch.int64, device=like.device)


def _shift_right(x: Tensor, bits: int) -> Tensor:
    """Logical shift: torch's own repeats the sign bit of a signed integer."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mix(x: Tensor) -> Tensor:
    x = x + _GOLDEN
    x = (x ^ _shift_right(x, 30)) * _FIRST
    x = (x ^ _shift_right(x, 27)) * _SECOND
    return x ^ _shift_right(x, 31)


def _uniform(x: Tensor) -> Tensor:
    """The top 53 bits as a float64 in [0, 1)."""
    return _shift_right(x, 11).to(torch.float64) * 2.0**-53
