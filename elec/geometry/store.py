"""Tensors of a scene in one safetensors file: shapes and types as they are, units and names in its header."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from elec.geometry.clouds import PointCloud
from elec.geometry.tensors import GridTensors, MaterialTensors
from mindsci import tree
from mindsci.errors import InputError, StorageError
from mindsci.files import writing

FORMAT = "mindsci.elec.geometry 1"
UNITS = {
    "x": "m",
    "y": "m",
    "z": "m",
    "points": "m",
    "signed_distance": "m",
    "material.conductivity": "S/m",
}
"""Of every other tensor the unit is 1."""
KINDS: dict[str, tuple[type, tuple[str, ...]]] = {
    "GridTensors": (GridTensors, ("solids", "frequency")),
    "PointCloud": (PointCloud, ("names", "frequency")),
}


def save_tensors(path: str | Path, tensors: GridTensors | PointCloud) -> None:
    """Writes grid tensors or a point cloud as safetensors, detached, with units and names in the metadata."""
    from safetensors.torch import save_file

    kind = type(tensors).__name__
    named = {name: leaf.detach().cpu().contiguous().clone() for name, leaf in tree.named_leaves(tensors)}
    about = {name: getattr(tensors, name) for name in KINDS[kind][1]}
    metadata = {
        "format": FORMAT,
        "kind": kind,
        "units": json.dumps({name: UNITS.get(name, "1") for name in named} | {"frequency": "Hz"}),
        "about": json.dumps(about),
    }
    with writing(path) as temporary:
        save_file(named, temporary, metadata=metadata)


def load_tensors(path: str | Path) -> GridTensors | PointCloud:
    """Returns what `save_tensors` wrote. Raises InputError for a file that is something else."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as stream:
            metadata = stream.metadata() or {}
            named = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise InputError(f"there is no file '{path}'; check the path") from None
    except (SafetensorError, OSError) as error:
        raise StorageError(f"cannot read '{path}' as safetensors: {error}") from None
    if metadata.get("format") != FORMAT:
        raise InputError(f"'{path}' holds no tensors of a scene; give a file that save_tensors wrote")
    made, _ = KINDS[metadata["kind"]]
    about = {key: tuple(v) if isinstance(v, list) else v for key, v in json.loads(metadata["about"]).items()}
    return made(**_nested(named), **about)


def _nested(named: dict[str, Tensor]) -> dict[str, Any]:
    """Fields from dotted names: open_edges.0 to .2 are a tuple, material.* its tensors."""
    fields: dict[str, Any] = {name: value for name, value in named.items() if "." not in name}
    groups: dict[str, dict[str, Tensor]] = {}
    for name, value in named.items():
        if "." in name:
            head, last = name.split(".", 1)
            groups.setdefault(head, {})[last] = value
    for head, members in groups.items():
        is_material = head == "material"
        fields[head] = (
            MaterialTensors(**members) if is_material else tuple(members[str(k)] for k in range(len(members)))
        )
    return fields
