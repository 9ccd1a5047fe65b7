"""The automatic mesh: lines on faces, a third of a cell beside rims, graded between; its picture and its cost."""

from elec.mesh.automatic import Mesh, automatic, whole_block
from elec.mesh.features import Demand, Rim, rims
from elec.mesh.lines import Limit, Lines, Station, place_lines, rim

__all__ = [
    "Demand",
    "Limit",
    "Lines",
    "Mesh",
    "Rim",
    "Station",
    "automatic",
    "place_lines",
    "rim",
    "rims",
    "whole_block",
]
