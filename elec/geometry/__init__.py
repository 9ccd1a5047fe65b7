"""Geometry: CAD files and constructive solids, and their meaning on a Yee grid."""

from elec.geometry.csg import (
    Box,
    Cylinder,
    Difference,
    Extrusion,
    Intersection,
    Solid,
    Sphere,
    SymmetricDifference,
    Transform,
    Translation,
    Union,
    box,
    cylinder,
    difference,
    extrusion,
    intersection,
    sphere,
    symmetric_difference,
    union,
)
from elec.geometry.gds import Layer, read_gds
from elec.geometry.part import Part, all_planes, bounds, planes
from elec.geometry.read import read_part, read_solid
from elec.geometry.scene import CellMaterials, EdgeMaterials, Scene, edge_average
from elec.geometry.shapes import Cone, Torus, Wire, cone, faceted, strip, strip_outline, torus, wire
from elec.geometry.sheet import Sheet, sheet, sheets
from elec.geometry.solid_mesh import MeshSolid, mesh_solid
from elec.geometry.voxels import fill_fractions, occupancy, sheet_edges, solid_edges
from elec.geometry.vtk import write_parts, write_rectilinear
from elec.geometry.winding import inside, signed_distance, winding_number
from elec.geometry.write import write_step, write_stl

__all__ = [
    "Box",
    "CellMaterials",
    "Cone",
    "Cylinder",
    "Difference",
    "EdgeMaterials",
    "Extrusion",
    "Intersection",
    "Layer",
    "MeshSolid",
    "Part",
    "Scene",
    "Sheet",
    "Solid",
    "Sphere",
    "SymmetricDifference",
    "Torus",
    "Transform",
    "Translation",
    "Union",
    "Wire",
    "all_planes",
    "bounds",
    "box",
    "cone",
    "cylinder",
    "difference",
    "edge_average",
    "extrusion",
    "faceted",
    "fill_fractions",
    "inside",
    "intersection",
    "mesh_solid",
    "occupancy",
    "planes",
    "read_gds",
    "read_part",
    "read_solid",
    "sheet",
    "sheet_edges",
    "sheets",
    "signed_distance",
    "solid_edges",
    "sphere",
    "strip",
    "strip_outline",
    "symmetric_difference",
    "torus",
    "union",
    "winding_number",
    "wire",
    "write_parts",
    "write_rectilinear",
    "write_step",
    "write_stl",
]
