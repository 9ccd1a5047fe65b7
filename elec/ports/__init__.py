"""Ports: modes of guides on the grid, ports that launch and measure them, transmission lines, scattering matrices."""

from elec.ports.charts import plot_mode, plot_scattering, smith_chart
from elec.ports.family import ModeFamily, mode_family
from elec.ports.lines import (
    characteristic_impedance,
    conductor_at,
    current,
    line_impedance,
    measured_beta,
    measured_impedance,
    voltage,
)
from elec.ports.modes import Mode, flux, guide_modes
from elec.ports.ringing import march, rung_out
from elec.ports.scattering import LumpedPort, Scattering, scattering_matrix, scattering_of, waves_of
from elec.ports.section import Section, cross_section
from elec.ports.waveguide import ModePort, PlacedModePort

__all__ = [
    "LumpedPort",
    "Mode",
    "ModeFamily",
    "ModePort",
    "PlacedModePort",
    "Scattering",
    "Section",
    "characteristic_impedance",
    "conductor_at",
    "cross_section",
    "current",
    "flux",
    "guide_modes",
    "line_impedance",
    "march",
    "measured_beta",
    "measured_impedance",
    "mode_family",
    "plot_mode",
    "plot_scattering",
    "rung_out",
    "scattering_matrix",
    "scattering_of",
    "smith_chart",
    "voltage",
    "waves_of",
]
