"""Cross-sections of a scatterer from its far field and the spectrum of the wave that falls on it."""

from __future__ import annotations

import math

from jaxtyping import Complex, Float
from torch import Tensor

from elec.observables.pattern import FarField, Sphere


def radar_cross_section(
    field: FarField, incident: Complex[Tensor, "f"], *, polarisation: tuple[complex, complex] | None = None
) -> Float[Tensor, "f *directions"]:
    """Returns sigma = 4 pi |r E|^2 / |E_incident|^2 [m^2] in the directions of the field: bistatic, or monostatic back.

    incident is the spectrum of the incident field (`elec.fdtd.plane_wave.incident_spectrum`). polarisation names the
    part that the receiver takes, by its unit vector along theta and phi; None takes both. The surface of the field
    encloses the total-field box, so that it sees the scattered field alone.
    """
    if polarisation is None:
        received = field.intensity * (2.0 * field.impedance)
    else:
        along_theta, along_phi = (complex(part).conjugate() for part in polarisation)
        part = along_theta * field.electric_theta + along_phi * field.electric_phi
        received = part.real**2 + part.imag**2
    return 4.0 * math.pi * received / _density(incident, received)


def scattering_cross_section(field: FarField, incident: Complex[Tensor, "f"], sphere: Sphere) -> Float[Tensor, "f"]:
    """Returns the scattered over the incident power density [m^2], from the field in all directions."""
    return sphere.integral(field.intensity) * 2.0 * field.impedance / (incident.real**2 + incident.imag**2)


def incident_density(incident: Complex[Tensor, "f"], impedance: float) -> Float[Tensor, "f"]:
    """Returns the power density |E|^2 / (2 eta) of the incident wave [W s^2/m^2]."""
    return (incident.real**2 + incident.imag**2) / (2.0 * impedance)


def _density(incident: Tensor, like: Tensor) -> Tensor:
    return (incident.real**2 + incident.imag**2).reshape(-1, *[1] * (like.ndim - 1))
