"""What every test shares: marks by folder, one thread a worker, the mirror of upstream data."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import shape_checks
from filelock import FileLock

FOLDERS = ("unit", "physics", "gradients", "conformance", "parity", "distributed")

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores: torch with a thread for every core in each of them only makes them wait on one another.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


shape_checks.install(Path(__file__).resolve().parents[1])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks each test with the name of its folder."""
    tests = Path(__file__).parent
    for item in items:
        folder = item.path.relative_to(tests).parts[0]
        if folder in FOLDERS:
            item.add_marker(folder)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data_mirror() -> Path:
    """The folder of upstream data that MINDSCI_MIRROR names; without one the test is skipped."""
    mirror = Path(os.environ.get("MINDSCI_MIRROR", ""))
    if not mirror.name or not mirror.is_dir():
        pytest.skip("needs upstream data: set MINDSCI_MIRROR to a folder that mirrors it")
    return mirror


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], None]], Path]:
    """Makes a folder that all workers of a test run share: `made_once("ranks", make)` calls make(folder) in one."""
    base = tmp_path_factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def folder_of(name: str, make: Callable[[Path], None]) -> Path:
        folder = root / name
        with FileLock(root / f"{name}.lock"):
            if not (folder / "made").exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a worker that failed
                folder.mkdir()
                make(folder)
                (folder / "made").touch()
        return folder

    return folder_of


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Declares items as an installed plugin would: `declare(models={"line": "torch.nn:Linear"})`."""
    from mindsci import plugins

    def add(**items: dict[str, str]) -> None:
        found = plugins.discover() | {"test": plugins.Plugin(name="test", **items)}
        monkeypatch.setattr(plugins, "discover", lambda: found)

    return add


@pytest.fixture(autouse=True)
def hub_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps downloads of the tests out of the user's cache folder."""
    monkeypatch.setenv("MINDSCI_HOME", str(tmp_path_factory.getbasetemp() / "hub_cache"))
