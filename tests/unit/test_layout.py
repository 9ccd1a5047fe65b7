"""The rules of the house that a look at the files can check."""

from __future__ import annotations

import ast
import configparser
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mindsci
from mindsci import plugins

PACKAGES = ("mindsci", "elec", "sponge")

UNCHANGED = """
import logging, os, warnings
import numpy, torch

def state():
    return (
        dict(os.environ), torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads(),
        torch.initial_seed(), torch.backends.cuda.matmul.allow_tf32, list(logging.root.handlers), logging.root.level,
        list(warnings.filters), numpy.geterr(), numpy.get_printoptions(),
    )

before = state()
import mindsci, elec, sponge
import mindsci.cli, mindsci.hub, mindsci.plugin, mindsci.solvers, elec.plugin, sponge.plugin
for then, now in zip(before, state(), strict=True):
    assert then == now, (then, now)
"""

BARE = """
import sys
import mindsci, elec, sponge
import mindsci.cli, mindsci.hub, mindsci.solvers, mindsci.kernels, elec.plugin, sponge.plugin
optional = ("cascadio", "triton", "openmm", "vesin", "gemmi", "mdtraj", "pyvista", "plotly", "py3Dmol", "tensorboard")
slow = ("rdkit", "ase", "trimesh", "meshio", "matplotlib", "skrf", "h5py")
print(*(name for name in optional + slow if name in sys.modules))
"""


def output(code: str, repository: Path) -> str:
    environment = os.environ | {"PYTHONPATH": str(repository)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_folder_of_modules_is_a_package(repository: Path) -> None:
    folders = {path.parent for name in PACKAGES for path in (repository / name).rglob("*.py")}
    assert sorted(str(folder) for folder in folders if not (folder / "__init__.py").exists()) == []


@pytest.mark.parametrize("kind", ["datasets", "pretrained"])
def test_cards_hold_no_code(kind: str, repository: Path) -> None:
    """A module there would make `datasets` a package of ours and hide Hugging Face's."""
    assert [str(path) for path in (repository / kind).rglob("*.py")] == []
    assert all((path / "card.toml").exists() for path in (repository / kind).iterdir() if path.is_dir())


def test_the_version_is_the_same_everywhere(repository: Path) -> None:
    setup = configparser.ConfigParser()
    setup.read(repository / "setup.cfg")
    released = re.findall(r"^## \[(\d\S*)\]", (repository / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert setup["metadata"]["version"] == mindsci.__version__ == released[0]


def third_party_imports(root: Path) -> set[str]:
    """Names of the packages that the code imports, wherever in it, which are neither Python's nor ours."""
    nodes = [node for name in PACKAGES for path in (root / name).rglob("*.py") for node in ast.walk(parsed(path))]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    return {name.partition(".")[0] for name in names} - set(PACKAGES) - set(sys.stdlib_module_names)


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_every_package_that_is_imported_is_declared(repository: Path) -> None:
    setup = configparser.ConfigParser()
    setup.read(repository / "setup.cfg")
    declared = "\n".join([setup["options"]["install_requires"], *setup["options.extras_require"].values()])
    known = {re.split(r"[ <>=;\[]", line)[0].lower() for line in declared.splitlines() if line}
    distributions = {"skrf": "scikit-rf", "PIL": "pillow", "dask_jobqueue": "dask-jobqueue"}
    # Scripts that a benchmark hands to another program's own Python import that program.
    peers = {"schnetpack"}
    assert {distributions.get(name, name).lower() for name in third_party_imports(repository)} - known == peers


def test_importing_the_packages_changes_nothing(repository: Path) -> None:
    output(UNCHANGED, repository)


def test_importing_the_packages_needs_no_extra_and_stays_quick(repository: Path) -> None:
    assert output(BARE, repository) == ""


def test_every_name_of_our_plugins_leads_to_an_object() -> None:
    assert set(plugins.discover()) >= set(PACKAGES)
    for kind in plugins.KINDS:
        for name in plugins.names(kind):
            assert callable(plugins.get(kind, name)), name
