"""Force fields as OpenMM's XML files write them: kinds of atoms, templates of residues, parameters of terms.

nm, kJ/mol, radian, elementary charge, dalton [Eastman2023]. Files are data: scripts in them are never run, and a file
with a document type, where entities could be declared, is refused.
"""

from __future__ import annotations

import logging
import xml.etree.ElementTree as xml
from collections.abc import Callable, Sequence
from pathlib import Path

from mindsci.errors import InputError, StorageError
from sponge.builders.biomolecules.patches import Patches, read_allowed, read_patches
from sponge.builders.biomolecules.templates import AtomKind, ResidueTemplate, read_templates
from sponge.builders.biomolecules.terms import Parameters, read_terms

logger = logging.getLogger(__name__)

FOLDER = "biomolecular/openmm_forcefields"
"""of MINDSCI_MIRROR"""
KNOWN = (
    "Info",
    "AtomTypes",
    "Residues",
    "Patches",
    "Include",
    "InitializationScript",
    "HarmonicBondForce",
    "HarmonicAngleForce",
    "AmoebaUreyBradleyForce",
    "PeriodicTorsionForce",
    "RBTorsionForce",
    "CustomTorsionForce",
    "CMAPTorsionForce",
    "NonbondedForce",
    "LennardJonesForce",
)


class ForceFieldFiles:
    """The definitions of several files together; made by `read_force_field`.

    Args:
        kinds: of atoms, by name.
        templates: of residues, by name.
        patches: of templates.
        parameters: of all terms.
    """

    def __init__(
        self,
        kinds: dict[str, AtomKind],
        templates: dict[str, ResidueTemplate],
        patches: Patches,
        parameters: Parameters,
    ) -> None:
        self.kinds, self.templates, self.patches, self.parameters = kinds, templates, patches, parameters


def read_force_field(names: Sequence[Path | str] | Path | str) -> ForceFieldFiles:
    """Returns the force field of one or more XML files in OpenMM's form, with what they include.

    A name is a path, or that of a file of an installed OpenMM ("amber14/protein.ff14SB.xml") or in
    biomolecular/openmm_forcefields of MINDSCI_MIRROR. Raises StorageError for a missing file, InputError for what is
    no such file and for forces that are not known here, by name.
    """
    pending = [_found(name, None) for name in ([names] if isinstance(names, Path | str) else names)]
    roots: list[tuple[Path, xml.Element]] = []
    while pending:
        path = pending.pop(0)
        if any(path == other for other, _ in roots):
            continue
        root = _parsed(path)
        roots.append((path, root))
        pending += [_found(one.attrib.get("file", ""), path) for one in root.findall("Include")]
    if not roots:
        raise InputError("no force field file is given; name one or more, as 'amber14/protein.ff14SB.xml'")
    kinds: dict[str, AtomKind] = {}
    templates: dict[str, ResidueTemplate] = {}
    for path, root in roots:
        _guarded(path, root, "AtomTypes", lambda element: _read_kinds(element, kinds))
    for path, root in roots:
        _guarded(path, root, "Residues", lambda element: read_templates(element, kinds, templates))
    patches = Patches(parts={}, allowed={})
    for path, root in roots:
        _guarded(path, root, "Residues", lambda element: read_allowed(element, patches))
        _guarded(path, root, "Patches", lambda element: read_patches(element, kinds, patches))
    parameters = Parameters(kinds)
    for path, root in roots:
        for element in root:
            _guarded_one(path, element, lambda one: read_terms(one, parameters))
    return ForceFieldFiles(kinds, templates, patches, parameters)


def _guarded(path: Path, root: xml.Element, tag: str, read: Callable[[xml.Element], None]) -> None:
    for element in root.findall(tag):
        _guarded_one(path, element, read)


def _guarded_one(path: Path, element: xml.Element, read: Callable[[xml.Element], None]) -> None:
    try:
        read(element)
    except (ValueError, KeyError, IndexError) as error:
        reason = f"no attribute {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(f"'{path}', {element.tag}: {reason}") from error


def _folders() -> list[Path]:
    """Where names of files are looked for, after the present folder."""
    import importlib.util

    from mindsci.hub.settings import Settings

    mirror = Settings.from_environment().mirror_folder
    folders = [] if mirror is None else [mirror / FOLDER]
    installed = importlib.util.find_spec("openmm")
    if installed is not None and installed.origin is not None:
        folders.append(Path(installed.origin).parent / "app" / "data")
    return folders


def _found(name: Path | str, including: Path | None) -> Path:
    near = [] if including is None else [including.parent, including.parent.parent]
    for folder in (*near, Path(), *_folders()):
        if str(name) and (folder / name).is_file():
            return (folder / name).resolve()
    where = f"included by '{including}', " if including else ""
    raise StorageError(
        f"the force field file '{name}' ({where}a path or a name of OpenMM's) does not exist; give its path, "
        "pip install openmm, or set MINDSCI_MIRROR"
    )


def _parsed(path: Path) -> xml.Element:
    try:
        text = path.read_text(encoding="utf-8-sig")
        if "<!DOCTYPE" in text.upper() or "<!ENTITY" in text.upper():
            raise InputError(f"'{path}' declares a document type; force field files have none: take that part out")
        root = xml.fromstring(text)
    except (xml.ParseError, UnicodeDecodeError) as error:
        raise InputError(f"'{path}' is no XML in UTF-8 ({error}); give a force field in OpenMM's form") from error
    if root.tag != "ForceField":
        raise InputError(f"'{path}' is a {root.tag}, not a ForceField; give a force field in OpenMM's form")
    for element in root:
        if element.tag == "Script":
            raise InputError(
                f"'{path}' holds a program (Script) that changes parameters, and programs are not run; let OpenMM "
                "make the system and read it with from_openmm_system"
            )
        if element.tag == "InitializationScript":
            logger.info("'%s' holds an InitializationScript, which is not run", path)
        if element.tag not in KNOWN:
            raise InputError(f"'{path}' has a {element.tag}, which is not known here; known are {', '.join(KNOWN)}")
    return root


def _read_kinds(element: xml.Element, kinds: dict[str, AtomKind]) -> None:
    from ase.data import atomic_numbers

    for one in element.findall("Type"):
        name, symbol = one.attrib["name"], one.attrib.get("element", "")
        if symbol and symbol.capitalize() not in atomic_numbers:
            raise ValueError(f"the element {symbol} of {name} is unknown")
        kind = AtomKind(
            name=name,
            group=one.attrib["class"],
            atomic_number=atomic_numbers[symbol.capitalize()] if symbol else 0,
            mass=float(one.attrib["mass"]),
        )
        if name in kinds and kinds[name] != kind:
            raise ValueError(f"the type {name} is defined twice, with different values; take one of the files out")
        kinds[name] = kind
