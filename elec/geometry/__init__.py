"""Geometry: CAD files and constructive solids, and their meaning on a Yee grid."""

from elec.geometry.csg import (
    Box,
    Cylinder,
    Difference,
    Extrusion,
    Intersection,
    Sheet,
    Solid,
    Sphere,
    Translation,
    Union,
    box,
    cylinder,
    difference,
    extrusion,
    intersection,
    sheet,
    sheets,
    sphere,
    union,
)
from elec.geometry.part import Part, all_planes, bounds, planes
from elec.geometry.read import read_part
from elec.geometry.scene import CellMaterials, EdgeMaterials, Scene, edge_average
from elec.geometry.voxels import fill_fractions, occupancy, sheet_edges, solid_edges
from elec.geometry.vtk import write_parts, write_rectilinear
from elec.geometry.winding import inside, signed_distance, winding_number
from elec.geometry.write import write_step, write_stl

__all__ = [
    "Box",
    "CellMaterials",
    "Cylinder",
    "Difference",
    "EdgeMaterials",
    "Extrusion",
    "Intersection",
    "Part",
    "Scene",
    "Sheet",
    "Solid",
    "Sphere",
    "Translation",
    "Union",
    "all_planes",
    "bounds",
    "box",
    "cylinder",
    "difference",
    "edge_average",
    "extrusion",
    "fill_fractions",
    "inside",
    "intersection",
    "occupancy",
    "planes",
    "read_part",
    "sheet",
    "sheet_edges",
    "sheets",
    "signed_distance",
    "solid_edges",
    "sphere",
    "union",
    "winding_number",
    "write_parts",
    "write_rectilinear",
    "write_step",
    "write_stl",
]
