"""A package of somebody else, built and installed on its own, adds a task, a model and a card."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]

FILES = {
    "pyproject.toml": """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
""",
    "setup.cfg": """
[metadata]
name = spring-for-mindsci
version = 0.3

[options]
packages = spring
include_package_data = false

[options.package_data]
spring = _data/*/*/*

[options.entry_points]
mindsci.plugins =
    spring = spring.plugin:plugin
""",
    "spring/__init__.py": "",
    "spring/plugin.py": """
from mindsci.plugins import Plugin

plugin = Plugin(
    name="spring",
    summary="a mass on a spring",
    tasks={"oscillate": "spring.case:Oscillate"},
    models={"hooke": "spring.model:Hooke"},
)
""",
    "spring/model.py": """
import torch


class Hooke(torch.nn.Module):
    def __init__(self, stiffness: float) -> None:
        super().__init__()
        self.stiffness = torch.nn.Parameter(torch.tensor(stiffness))

    def forward(self, position):
        return -self.stiffness * position
""",
    "spring/case.py": """
from typing import ClassVar

import torch
from torch import Tensor

from mindsci import plugins, tree
from mindsci.config import Case, Quantity
from mindsci.solvers import Splitting, rollout
from mindsci.tree import Tree


class Mass(Tree):
    position: Tensor
    momentum: Tensor


class Drift(Tree):
    reversible: ClassVar[bool] = True

    def __call__(self, mass, t, dt):
        return tree.replace(mass, position=mass.position + dt * mass.momentum)


class Kick(Tree):
    force: torch.nn.Module
    reversible: ClassVar[bool] = True

    def __call__(self, mass, t, dt):
        return tree.replace(mass, momentum=mass.momentum + dt * self.force(mass.position))


class Oscillate(Case):
    stiffness: Quantity("N/m") = "1 N/m"
    n_steps: int = 628

    def run(self, run):
        force = plugins.get("models", "spring/hooke")(self.stiffness)
        step = Splitting(flows={"B": Kick(force=force), "A": Drift()}, order="BAB")
        start = Mass(position=torch.ones(1), momentum=torch.zeros(1))
        with torch.no_grad():
            last, _ = rollout(step, start, n_steps=self.n_steps, dt=0.01)
        run.results({"position": float(last.position)})
""",
    "spring/_data/datasets/swing/card.toml": f"""
name = "swing"
title = "One number"
licence = "CC0-1.0"
source = "made here"
citation = "none"
reader = "builtins:dict"
units = {{}}
shapes = {{}}
splits = {{train = {{files = ["swing.txt"], samples = 1}}}}

[[files]]
name = "swing.txt"
bytes = 3
sha256 = "{hashlib.sha256(b"1.0").hexdigest()}"
""",
    "spring/_data/datasets/swing/swing.txt": "1.0",
}


@pytest.fixture(scope="module")
def mindsci(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Command:
    """Runs the command line in a folder from which the installed third-party package can be seen."""
    source, target = tmp_path_factory.mktemp("spring"), tmp_path_factory.mktemp("site")
    for name, text in FILES.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text)
    install = ["pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--target", str(target)]
    subprocess.run([sys.executable, "-m", *install, str(source)], check=True, timeout=120)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(target), str(repository)])}

    def command(*arguments: str, cwd: Path = source.parent) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mindsci", *arguments],
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return command


def test_its_task_and_model_are_listed(mindsci: Command) -> None:
    done = mindsci("plugins")
    assert done.returncode == 0, done.stderr
    for item in ("spring/oscillate", "spring.case:Oscillate", "spring/hooke", "spring.model:Hooke", "mindsci/adjoints"):
        assert item in done.stdout
    assert json.loads(mindsci("plugins", "--json").stdout)["spring"]["models"] == {"hooke": "spring.model:Hooke"}


def test_its_task_runs_with_its_model(mindsci: Command, tmp_path: Path) -> None:
    (tmp_path / "case.toml").write_text('task = "spring/oscillate"\nstiffness = "1 N/m"\n')
    done = mindsci("run", "case.toml", "--out", "swing", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    # 6.28 s are one period of unit mass and stiffness: the mass is back where it started.
    assert json.loads((tmp_path / "swing/results.json").read_text())["position"] == pytest.approx(1.0, abs=1e-4)


def test_its_case_is_checked_like_any_other(mindsci: Command, tmp_path: Path) -> None:
    (tmp_path / "case.toml").write_text('task = "spring/oscillate"\nstiffness = 1.0\nsteps = 3\n')
    done = mindsci("run", "case.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert "stiffness" in done.stderr and "steps: unknown key; did you mean 'n_steps'" in done.stderr
    assert "Traceback" not in done.stderr


def test_its_card_is_found_and_checked(mindsci: Command) -> None:
    done = mindsci("datasets", "verify", "swing", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["datasets"][0]["state"] == "ok"
