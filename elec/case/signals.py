"""The signal that the field sources of a case follow."""

from __future__ import annotations

from typing import Any, Literal

import torch
from jaxtyping import Complex
from pydantic import Field, model_validator
from torch import Tensor

from elec.case.tables import pulse
from elec.fdtd.plane_wave import incident_spectrum
from elec.fdtd.waveforms import ContinuousWave, Gaussian, Ricker
from mindsci.config import Quantity, Table
from mindsci.errors import InputError

RICKER_EDGE = 2.211
"""Where u^2 exp(1 - u^2) has fallen to a tenth: the spectrum of a Ricker pulse is 20 dB down at that many times its
frequency."""
KEYS = {
    "pulse": (("frequency_max",), ("frequency_min",)),
    "gaussian": (("frequency_max",), ()),
    "ricker": (("frequency",), ()),
    "cw": (("frequency",), ("ramp",)),
}
"""What each signal needs, and what it may have besides."""


class SignalTable(Table):
    """The table `[excitation]` of a case of field sources: one signal of peak value one for all of them.

    "pulse" has no DC part; "gaussian" has one; "ricker" is largest at its frequency; "cw" is a sine that rises from
    rest over `ramp` periods, and its run goes on until the fields repeat themselves.
    """

    waveform: Literal["pulse", "gaussian", "ricker", "cw"] = "pulse"
    frequency_max: Quantity("Hz") | None = None  # type: ignore[valid-type]
    """where a pulse or a Gaussian is 20 dB down"""
    frequency_min: Quantity("Hz") | None = None  # type: ignore[valid-type]
    """where a pulse is 20 dB down on the low side too"""
    frequency: Quantity("Hz") | None = None  # type: ignore[valid-type]
    """of a Ricker pulse or a continuous wave"""
    ramp: float | None = Field(default=None, gt=0)
    """[periods], 5 unless given"""

    @model_validator(mode="after")
    def _complete(self) -> SignalTable:
        needed, allowed = KEYS[self.waveform]
        given = [name for name in ("frequency_max", "frequency_min", "frequency", "ramp") if getattr(self, name)]
        for name in needed:
            if name not in given:
                raise InputError(f"a signal of waveform '{self.waveform}' needs {name}; add {name} = \"10 GHz\"")
        for name in given:
            if name not in (*needed, *allowed):
                told = " and ".join((*needed, *allowed))
                raise InputError(f"a signal of waveform '{self.waveform}' has no {name}; it is known by {told}")
        if self.frequency_min is not None and not 0 < self.frequency_min < self.frequency_max:
            raise InputError(
                f"frequency_min = {self.frequency_min:g} Hz, frequency_max = {self.frequency_max:g} Hz: give "
                "0 < frequency_min < frequency_max"
            )
        self.signal()
        return self

    @property
    def continuous(self) -> bool:
        return self.waveform == "cw"

    @property
    def highest(self) -> float:
        """The frequency [Hz] above which the signal is more than 20 dB down."""
        if self.frequency_max is not None:
            return self.frequency_max
        assert self.frequency is not None
        return self.frequency if self.continuous else RICKER_EDGE * self.frequency

    def signal(self) -> Any:
        """Returns the waveform."""
        if self.waveform == "ricker":
            return Ricker(frequency=self.frequency)
        if self.waveform == "cw":
            return ContinuousWave(frequency=self.frequency, ramp=self.ramp if self.ramp is not None else 5.0)
        assert self.frequency_max is not None
        if self.waveform == "gaussian":
            return Gaussian(frequency_max=self.frequency_max)
        return pulse(self.frequency_min, self.frequency_max)

    def note(self) -> str:
        if self.continuous:
            return f"continuous wave of {self.highest / 1e9:g} GHz"
        return f"{self.waveform} up to {self.highest / 1e9:.4g} GHz, {self.signal().duration * 1e9:.3g} ns long"


def signal_spectrum(
    signal: Any, dt: float, steps: tuple[int, int], frequencies: tuple[float, ...]
) -> Complex[Tensor, "f"]:
    """Returns the Fourier sum of a signal over the steps of a window, as monitors take it [s]."""
    until, before = (
        incident_spectrum(signal, dt, count, frequencies)
        if count
        else torch.zeros(len(frequencies), dtype=torch.complex128)
        for count in (steps[1], steps[0])
    )
    return until - before
