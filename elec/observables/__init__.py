"""What is read from a run: power, far fields, cross-sections, resonances, absorption in tissue."""

from elec.observables.absorption import absorbed_power, cell_power, per_unit, point_rate, unfolded, whole_body_rate
from elec.observables.beam import great_circle, half_power_width, plot_cuts, plot_pattern
from elec.observables.cross_section import incident_density, radar_cross_section, scattering_cross_section
from elec.observables.decay import field_energy, pieces, record_level, run_until_decayed
from elec.observables.far_field import far_field
from elec.observables.flux import Plane, radiated_power
from elec.observables.mass_average import MassAverage, cube_average, mass_average
from elec.observables.pattern import FarField, Sphere, efficiency, sphere_directions
from elec.observables.resonances import Resonances, resonances
from elec.observables.ringing import FreeRinging, continued
from elec.observables.surface import Surface, centred_surface

__all__ = [
    "FarField",
    "FreeRinging",
    "MassAverage",
    "Plane",
    "Resonances",
    "Sphere",
    "Surface",
    "absorbed_power",
    "cell_power",
    "centred_surface",
    "continued",
    "cube_average",
    "efficiency",
    "far_field",
    "field_energy",
    "great_circle",
    "half_power_width",
    "incident_density",
    "mass_average",
    "per_unit",
    "plot_cuts",
    "plot_pattern",
    "point_rate",
    "radar_cross_section",
    "radiated_power",
    "pieces",
    "record_level",
    "resonances",
    "run_until_decayed",
    "scattering_cross_section",
    "sphere_directions",
    "unfolded",
    "whole_body_rate",
]
