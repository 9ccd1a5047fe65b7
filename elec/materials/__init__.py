"""Materials: lossy, anisotropic, dispersive, magnetic; perfect metal, sheets, good conductors; fits to tables."""

from elec.materials.dispersion import Pole, debye, drude, lorentz
from elec.materials.material import AIR, BUILTIN, PEC, VACUUM, Material, find_material, good_conductor
from elec.materials.optical import OpticalConstants, read_optical_constants
from elec.materials.surface import (
    Skin,
    Surface,
    drude_surface,
    foil_surface,
    layer_skin,
    resistance_surface,
    skin_depth,
    thick_surface,
)
from elec.materials.table import MaterialTable, loss_tangent_conductivity, material_library

__all__ = [
    "AIR",
    "BUILTIN",
    "PEC",
    "VACUUM",
    "Material",
    "MaterialTable",
    "OpticalConstants",
    "Pole",
    "Skin",
    "Surface",
    "debye",
    "drude",
    "drude_surface",
    "find_material",
    "foil_surface",
    "good_conductor",
    "layer_skin",
    "lorentz",
    "loss_tangent_conductivity",
    "material_library",
    "read_optical_constants",
    "resistance_surface",
    "skin_depth",
    "thick_surface",
]
