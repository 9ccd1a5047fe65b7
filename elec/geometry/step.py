"""The text of a STEP file for polyhedra: ISO 10303-21 with the boundary representation of AP214 [ISO10303].

Each body is a MANIFOLD_SOLID_BREP of planar ADVANCED_FACEs whose edges are straight lines.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from elec.geometry.topology import Faces, Vertices, bodies, directed_edges, unbalanced_edges, volume
from mindsci.errors import InputError

# Neighbouring triangles whose unit normals differ by less than this lie in one plane.
COPLANAR = 1e-9

HEADER = """ISO-10303-21;
HEADER;
FILE_DESCRIPTION(('polyhedra'),'2;1');
FILE_NAME('{name}','1970-01-01T00:00:00',(''),(''),'mindsci','mindsci','');
FILE_SCHEMA(('AUTOMOTIVE_DESIGN {{ 1 0 10303 214 1 1 1 1 }}'));
ENDSEC;
DATA;
"""
FOOTER = "ENDSEC;\nEND-ISO-10303-21;\n"


class _Lines:
    """The numbered entities written so far."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, entity: str) -> str:
        self.lines.append(f"#{len(self.lines) + 1}={entity};\n")
        return f"#{len(self.lines)}"


def step_text(name: str, vertices: Vertices, faces: Faces) -> str:
    """Returns the STEP file of closed bodies, vertices in [mm]."""
    if len(unbalanced_edges(faces)):
        raise InputError(f"part '{name}' is not closed, so it has no STEP solid; mend its surface")
    label = _text(name)
    lines = _Lines()
    context, shape = _product(lines, label)
    origin = lines.add("CARTESIAN_POINT('',(0.,0.,0.))")
    axis, reference = lines.add("DIRECTION('',(0.,0.,1.))"), lines.add("DIRECTION('',(1.,0.,0.))")
    items = [lines.add(f"AXIS2_PLACEMENT_3D('',{origin},{axis},{reference})")]
    for body in bodies(faces):
        if volume(vertices, body) <= 0:
            raise InputError(f"part '{name}' has a cavity or faces turned inward, which write_step cannot describe")
        items.append(_body(lines, label, vertices, body))
    solid = lines.add(f"ADVANCED_BREP_SHAPE_REPRESENTATION('{label}',({','.join(items)}),{context})")
    lines.add(f"SHAPE_DEFINITION_REPRESENTATION({shape},{solid})")
    return HEADER.format(name=label) + "".join(lines.lines) + FOOTER


def _product(lines: _Lines, label: str) -> tuple[str, str]:
    """Writes the product that the shape belongs to; returns the geometric context and the product's shape."""
    application = lines.add("APPLICATION_CONTEXT('core data for automotive mechanical design processes')")
    lines.add(f"APPLICATION_PROTOCOL_DEFINITION('international standard','automotive_design',2000,{application})")
    product_context = lines.add(f"PRODUCT_CONTEXT('',{application},'mechanical')")
    product = lines.add(f"PRODUCT('{label}','{label}','',({product_context}))")
    formation = lines.add(f"PRODUCT_DEFINITION_FORMATION('','',{product})")
    stage = lines.add(f"PRODUCT_DEFINITION_CONTEXT('part definition',{application},'design')")
    definition = lines.add(f"PRODUCT_DEFINITION('design','',{formation},{stage})")
    shape = lines.add(f"PRODUCT_DEFINITION_SHAPE('','',{definition})")
    length = lines.add("(LENGTH_UNIT() NAMED_UNIT(*) SI_UNIT(.MILLI.,.METRE.))")
    angle = lines.add("(NAMED_UNIT(*) PLANE_ANGLE_UNIT() SI_UNIT($,.RADIAN.))")
    solid_angle = lines.add("(NAMED_UNIT(*) SI_UNIT($,.STERADIAN.) SOLID_ANGLE_UNIT())")
    accuracy = lines.add(f"UNCERTAINTY_MEASURE_WITH_UNIT(LENGTH_MEASURE(1.E-7),{length},'distance_accuracy_value','')")
    context = lines.add(
        f"(GEOMETRIC_REPRESENTATION_CONTEXT(3) GLOBAL_UNCERTAINTY_ASSIGNED_CONTEXT(({accuracy})) "
        f"GLOBAL_UNIT_ASSIGNED_CONTEXT(({length},{angle},{solid_angle})) REPRESENTATION_CONTEXT('',''))"
    )
    return context, shape


def _body(lines: _Lines, label: str, vertices: Vertices, faces: Faces) -> str:
    """Writes one closed body; returns its solid."""
    loops = [_loops(vertices, group) for group in _flat_groups(vertices, faces)]
    points: dict[int, str] = {}
    corners: dict[int, str] = {}
    for vertex in sorted({vertex for _, face_loops in loops for loop in face_loops for vertex in loop}):
        points[vertex] = lines.add(f"CARTESIAN_POINT('',{_triple(vertices[vertex])})")
        corners[vertex] = lines.add(f"VERTEX_POINT('',{points[vertex]})")
    edges: dict[tuple[int, int], str] = {}
    written = []
    for normal, face_loops in loops:
        bounds = []
        for place, loop in enumerate(face_loops):
            oriented = []
            for start, end in zip(loop, loop[1:] + loop[:1], strict=True):
                key = (min(start, end), max(start, end))
                if key not in edges:
                    direction = vertices[key[1]] - vertices[key[0]]
                    unit = lines.add(f"DIRECTION('',{_triple(direction / np.linalg.norm(direction))})")
                    vector = lines.add(f"VECTOR('',{unit},1.)")
                    line = lines.add(f"LINE('',{points[key[0]]},{vector})")
                    edges[key] = lines.add(f"EDGE_CURVE('',{corners[key[0]]},{corners[key[1]]},{line},.T.)")
                sense = ".T." if start < end else ".F."
                oriented.append(lines.add(f"ORIENTED_EDGE('',*,*,{edges[key]},{sense})"))
            ring = lines.add(f"EDGE_LOOP('',({','.join(oriented)}))")
            bounds.append(lines.add(f"{'FACE_OUTER_BOUND' if place == 0 else 'FACE_BOUND'}('',{ring},.T.)"))
        along = vertices[face_loops[0][1]] - vertices[face_loops[0][0]]
        axis = lines.add(f"DIRECTION('',{_triple(normal)})")
        reference = lines.add(f"DIRECTION('',{_triple(along / np.linalg.norm(along))})")
        placement = lines.add(f"AXIS2_PLACEMENT_3D('',{points[face_loops[0][0]]},{axis},{reference})")
        plane = lines.add(f"PLANE('',{placement})")
        written.append(lines.add(f"ADVANCED_FACE('',({','.join(bounds)}),{plane},.T.)"))
    shell = lines.add(f"CLOSED_SHELL('',({','.join(written)}))")
    return lines.add(f"MANIFOLD_SOLID_BREP('{label}',{shell})")


def _flat_groups(vertices: Vertices, faces: Faces) -> list[Faces]:
    """Triangles that share an edge and a plane, together; each group in the order of its first triangle."""
    normals = _unit_normals(vertices, faces)
    group = list(range(len(faces)))

    def root(face: int) -> int:
        while group[face] != face:
            group[face] = group[group[face]]
            face = group[face]
        return face

    owners: dict[tuple[int, int], list[int]] = defaultdict(list)
    for place, (start, end) in enumerate(directed_edges(faces).tolist()):
        owners[min(start, end), max(start, end)].append(place % len(faces))
    for sharing in owners.values():
        if len(sharing) == 2 and np.abs(normals[sharing[0]] - normals[sharing[1]]).max() < COPLANAR:
            one, other = sorted((root(sharing[0]), root(sharing[1])))
            group[other] = one
    of_face = np.array([root(face) for face in range(len(faces))])
    return [faces[of_face == first] for first in np.unique(of_face)]


def _loops(vertices: Vertices, group: Faces) -> tuple[Vertices, list[list[int]]]:
    """The normal of a flat face and its rims, the outer one first."""
    normal = _unit_normals(vertices, group[:1])[0]
    edges = {(start, end) for start, end in directed_edges(group).tolist()}
    following: dict[int, list[int]] = defaultdict(list)
    for start, end in sorted(edges):
        if (end, start) not in edges:
            following[start].append(end)
    if any(len(ends) > 1 for ends in following.values()):
        raise InputError("a face of the part touches itself at a corner; split the part there to write it as STEP")
    loops = []
    while following:
        start = min(following)
        loop = [start]
        while (following_vertex := following.pop(loop[-1])[0]) != start:
            loop.append(following_vertex)
        loops.append(loop)
    loops.sort(key=lambda loop: -abs(_loop_area(vertices[loop], normal)))
    return normal, loops


def _unit_normals(vertices: Vertices, faces: Faces) -> Vertices:
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    normals = np.cross(b - a, c - a)
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


def _loop_area(corners: Vertices, normal: Vertices) -> float:
    offset = corners - corners[0]
    return 0.5 * float(np.cross(offset, np.roll(offset, -1, axis=0)).sum(0) @ normal)


def _triple(values: Vertices) -> str:
    return "(" + ",".join(_real(value) for value in values.tolist()) + ")"


def _real(value: float) -> str:
    """A STEP real: always with a decimal point, and exponent E."""
    mantissa, _, exponent = f"{value:.12g}".partition("e")
    mantissa = "0" if float(mantissa) == 0 else mantissa
    mantissa += "" if "." in mantissa else "."
    return mantissa + (f"E{int(exponent)}" if exponent else "")


def _text(name: str) -> str:
    """A STEP string: ASCII, quotes doubled; other characters by their code [ISO10303, part 21]."""
    plain = name.replace("\\", "\\\\").replace("'", "''")
    return "".join(character if " " <= character <= "~" else f"\\X4\\{ord(character):08X}\\X0\\" for character in plain)
