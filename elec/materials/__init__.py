"""Materials: lossy, anisotropic, dispersive, magnetic; perfect metal, sheets, good conductors; fits to tables."""

from elec.materials.dispersion import Pole, debye, drude, lorentz
from elec.materials.material import AIR, BUILTIN, PEC, VACUUM, Material, find_material
from elec.materials.optical import OpticalConstants, read_optical_constants
from elec.materials.surface import Surface, foil_surface, resistance_surface, thick_surface
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
    "Surface",
    "debye",
    "drude",
    "find_material",
    "foil_surface",
    "lorentz",
    "loss_tangent_conductivity",
    "material_library",
    "read_optical_constants",
    "resistance_surface",
    "thick_surface",
]
