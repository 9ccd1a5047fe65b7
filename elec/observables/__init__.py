"""What is read from a run: power, far fields, cross-sections, resonances, absorption in tissue."""

from elec.observables.far_field import far_field
from elec.observables.flux import Plane, radiated_power
from elec.observables.pattern import FarField, Sphere, efficiency, sphere_directions
from elec.observables.surface import Surface, centred_surface

__all__ = [
    "FarField",
    "Plane",
    "Sphere",
    "Surface",
    "centred_surface",
    "efficiency",
    "far_field",
    "radiated_power",
    "sphere_directions",
]
