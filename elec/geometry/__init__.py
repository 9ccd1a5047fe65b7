"""Geometry: CAD files and constructive solids, and their meaning on a Yee grid."""

from elec.geometry.clouds import PointCloud, surface_cloud, volume_cloud
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
from elec.geometry.store import load_tensors, save_tensors
from elec.geometry.tensors import GridTensors, MaterialTensors, grid_tensors
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
    "GridTensors",
    "Intersection",
    "Layer",
    "MaterialTensors",
    "MeshSolid",
    "Part",
    "PointCloud",
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
    "grid_tensors",
    "inside",
    "intersection",
    "load_tensors",
    "mesh_solid",
    "occupancy",
    "planes",
    "read_gds",
    "read_part",
    "read_solid",
    "save_tensors",
    "sheet",
    "sheet_edges",
    "sheets",
    "signed_distance",
    "solid_edges",
    "sphere",
    "strip",
    "strip_outline",
    "surface_cloud",
    "symmetric_difference",
    "torus",
    "union",
    "volume_cloud",
    "winding_number",
    "wire",
    "write_parts",
    "write_rectilinear",
    "write_step",
    "write_stl",
]
