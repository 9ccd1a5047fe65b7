"""What is installed is what is in the checkout: from a wheel, a source archive or an editable install."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

PACKAGES = ("mindsci", "elec", "sponge")
CARDS = ("datasets", "pretrained")
NEVER = shutil.ignore_patterns("__pycache__", "*.py[cod]", "*.egg-info", "*.nbi", "*.nbc", "_build")

IMPORT = """
import mindsci, elec, sponge
from mindsci.hub import DatasetCard, PretrainedCard, find_cards
for package in (mindsci, elec, sponge):
    print(package.__file__)
for kind in (DatasetCard, PretrainedCard):
    print(*(card.folder for card in find_cards(kind).values()))
"""


def content(folder: Path) -> set[str]:
    """Every file below a folder that belongs to it, relative to it."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in (".pyc", ".nbi", ".nbc") and "__pycache__" not in path.parts
    }


def run(*command: str, cwd: Path, path: Path | None = None) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"PYTHONPATH": str(path)} if path else {}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """A copy of what a clone holds, since a build writes beside the sources."""
    folder = tmp_path_factory.mktemp("build") / "mindsci"
    folder.mkdir()
    for name in (*PACKAGES, *CARDS, "tests", "docs", ".ci"):
        shutil.copytree(repository / name, folder / name, ignore=NEVER)
    for path in repository.iterdir():
        if path.is_file():
            shutil.copy(path, folder)
    return folder


@pytest.fixture(scope="module")
def built(copy: Path) -> Path:
    """The folder with the source archive and with the wheel that is made from it alone."""
    run(sys.executable, "-m", "build", "--no-isolation", cwd=copy)
    return copy / "dist"


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target))
    run(*pip, str(wheel), cwd=target)
    return target


def test_wheel_holds_every_file_of_the_packages_and_cards_and_no_other(wheel: Path, repository: Path) -> None:
    expected = {f"{name}/{file}" for name in PACKAGES for file in content(repository / name)}
    expected |= {f"mindsci/_data/{kind}/{file}" for kind in CARDS for file in content(repository / kind)}
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert sorted(packed - expected) == []
    assert sorted(expected - packed) == []


def test_wheel_installs_no_other_name_at_top_level(wheel: Path) -> None:
    names = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in names if not name.endswith(".dist-info")} == set(PACKAGES)


def test_source_archive_holds_what_tests_and_examples_need(built: Path, repository: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    expected = {f"{name}/{file}" for name in (*PACKAGES, *CARDS, "tests") for file in content(repository / name)}
    expected |= {f"docs/{file}" for file in content(repository / "docs") if not file.startswith("_build/")}
    expected |= {"README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile", ".ci/run", "setup.cfg"}
    assert sorted(expected - packed) == []


def test_installed_packages_and_cards_are_found_from_anywhere(
    installed: Path, repository: Path, tmp_path: Path
) -> None:
    printed = run(sys.executable, "-c", IMPORT, cwd=tmp_path, path=installed).split()
    assert [Path(place) for place in printed[:3]] == [installed / name / "__init__.py" for name in PACKAGES]
    cards = sorted(path.parent.relative_to(repository) for path in repository.glob("*/*/card.toml"))
    assert [Path(place) for place in printed[3:]] == [installed / "mindsci/_data" / card for card in cards]


def test_installed_command_line_lists_the_plugins(installed: Path, tmp_path: Path) -> None:
    lines = run(sys.executable, "-m", "mindsci", "plugins", cwd=tmp_path, path=installed).splitlines()
    assert {line.partition(":")[0] for line in lines if not line.startswith(" ")} >= set(PACKAGES)


def test_editable_install_reads_the_checkout(copy: Path, tmp_path: Path) -> None:
    build = "import sys; from setuptools import build_meta; build_meta.build_editable(sys.argv[1])"
    run(sys.executable, "-c", build, str(tmp_path), cwd=copy)
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    # Without `site` (-S), so that the packages under test are those of this install and not of the test's own.
    begin = f"import site, sys; site.addsitedir({str(tmp_path / 'site')!r}); "
    begin += f"sys.path.append({sysconfig.get_path('purelib')!r})\n"
    printed = run(sys.executable, "-S", "-c", begin + IMPORT, cwd=tmp_path).split()
    assert [Path(place) for place in printed[:3]] == [copy / name / "__init__.py" for name in PACKAGES]
    cards = sorted(path.parent for path in copy.glob("*/*/card.toml"))
    assert [Path(place) for place in printed[3:]] == cards


def test_hugging_face_datasets_imports_from_the_root_of_the_checkout(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets/__init__.py").write_text("theirs = True")
    code = "import datasets; print(datasets.theirs, datasets.__file__)"
    printed = run(sys.executable, "-c", code, cwd=repository, path=tmp_path)
    assert printed.split() == ["True", str(tmp_path / "datasets/__init__.py")]
