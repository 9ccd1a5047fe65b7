"""A sweep: every point a run of its own, nothing lost by a stop or a failure, results of all in one place."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

from mindsci import cli, runs
from mindsci.config import to_toml
from mindsci.errors import InputError, UnknownNameError
from mindsci.sweep import Plan, plan, read, sweep


@pytest.fixture
def points(tmp_path: Path, declare: Callable[..., None]) -> Callable[..., Plan]:
    declare(tasks={"fall": "sweep_case:Fall"})
    path = tmp_path / "fall.toml"
    path.write_text('task = "test/fall"\n')

    def made(*over: str, **options: Any) -> Plan:
        return plan(path, over or ("height=1:3:3 m",), **options)

    return made


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def started(folder: Path) -> list[str]:
    return (folder / "runs.txt").read_text().split("\n")[:-1]


def test_a_point_is_what_a_run_of_its_case_writes(points: Callable[..., Plan], tmp_path: Path) -> None:
    made = points()
    found = sweep(made, tmp_path / "a", quiet=True)
    assert found.ok
    assert found.finished == (0, 1, 2)
    point = tmp_path / "a/points/000002"
    (tmp_path / "b/points").mkdir(parents=True)
    runs.execute(made.cases[2], tmp_path / "b/points/000002", quiet=True)
    assert (point / "case.toml").read_text() == to_toml(made.cases[2])
    alone = tmp_path / "b/points/000002"
    assert {path.name for path in point.iterdir()} == {path.name for path in alone.iterdir()}
    for name in ("case.toml", "results.json", "path.csv"):
        assert (point / name).read_bytes() == (alone / name).read_bytes()


def test_the_table_has_parameters_and_scalars_with_their_units(points: Callable[..., Plan], tmp_path: Path) -> None:
    sweep(points("height=1:2:2 m", "material=air, water"), tmp_path / "a", quiet=True)
    table = rows(tmp_path / "a/sweep.csv")
    assert list(table[0]) == ["point", "height [m]", "material", "speed [m/s]", "in"]
    assert [row["material"] for row in table] == ["air", "water", "air", "water"]
    assert float(table[2]["speed [m/s]"]) == pytest.approx((4 * 9.81) ** 0.5)


def test_the_file_has_scalars_lists_and_tables_of_all_points(points: Callable[..., Plan], tmp_path: Path) -> None:
    sweep(points(), tmp_path / "a", quiet=True)
    found = read(tmp_path / "a/sweep.h5")
    assert found.finished.all()
    assert found.parameters["height"].unit == "m"
    assert found.parameters["height"].values == pytest.approx([1, 2, 3])
    assert found.results["speed"].unit == "m/s"
    assert found.results["energies"].values[:, 0] == pytest.approx(9.81 * numpy.array([1, 2, 3]))
    assert list(found.results["in"].values) == ["air"] * 3
    name, axis = found.axis("path")
    assert (name, axis.values.shape) == ("fraction", (5,))
    heights = found.tables["path"]["height"]
    assert heights.unit == "m"
    assert heights.values[2] == pytest.approx(3 * (1 - axis.values**2))
    assert found.about["how"] == "grid"


def test_tables_of_unequal_length_stay_with_their_points(points: Callable[..., Plan], tmp_path: Path) -> None:
    sweep(points("rows=4, 5"), tmp_path / "a", quiet=True)
    assert read(tmp_path / "a/sweep.h5").tables == {}
    assert "its number of rows differs from point to point" in (tmp_path / "a/log.txt").read_text()


@pytest.mark.parametrize(
    ("over", "options", "show"),
    [
        (["height=1:3:3 m"], {}, ()),
        (["height=1:3:3 m"], {}, ("path/height",)),
        (["height=1:3:3 m", "rows=4, 5"], {}, ("speed",)),
        (["height=1:3 m", "pause=0:1 ms"], {"sample": "sobol:4"}, ()),
        (["height=1:2:2 m", "rows=4, 5", "material=air, water"], {}, ()),
    ],
)
def test_the_results_are_drawn(
    points: Callable[..., Plan], tmp_path: Path, over: list[str], options: dict[str, Any], show: tuple[str, ...]
) -> None:
    sweep(points(*over, **options), tmp_path / "a", quiet=True, show=show)
    assert (tmp_path / "a/sweep.png").read_bytes().startswith(b"\x89PNG")


def test_a_result_that_cannot_be_drawn_is_named(points: Callable[..., Plan], tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'speed'"):
        sweep(points(), tmp_path / "a", quiet=True, show=("sped",))
    # What was computed is kept: the same command with another name draws it.
    assert sweep(points(), tmp_path / "a", quiet=True, show=("speed",), resume=True).ok
    assert len(started(tmp_path / "a")) == 3


def test_a_stopped_sweep_goes_on_with_the_point_at_hand(points: Callable[..., Plan], tmp_path: Path) -> None:
    made = points("height=1:4:4 m", settings=["fault=stop"])
    with pytest.raises(runs.Interrupted, match=r"stopped with 2 of 4 points finished; .* --resume"):
        sweep(made, tmp_path / "a", quiet=True)
    assert [row["speed [m/s]"] != "" for row in rows(tmp_path / "a/sweep.csv")] == [True, True, False, False]
    (tmp_path / "a/points/000003.tried").touch()
    assert sweep(made, tmp_path / "a", quiet=True, resume=True).ok
    assert started(tmp_path / "a") == [
        "000000 from 0",
        "000001 from 0",
        "000002 from 0",
        "000002 from 20",
        "000003 from 0",
    ]
    assert all(row["speed [m/s]"] for row in rows(tmp_path / "a/sweep.csv"))


def test_a_point_that_fails_is_tried_again_from_its_restart(points: Callable[..., Plan], tmp_path: Path) -> None:
    found = sweep(points(settings=["fault=once"]), tmp_path / "a", quiet=True)
    assert found.ok
    assert started(tmp_path / "a")[2:] == ["000002 from 0", "000002 from 20"]
    assert not (tmp_path / "a/failed.csv").exists()


def test_a_point_that_always_fails_is_given_up_and_the_others_are_done(
    points: Callable[..., Plan], tmp_path: Path
) -> None:
    made = points("height=3:1:3 m", settings=["fault=always"])
    found = sweep(made, tmp_path / "a", quiet=True, retries=2)
    assert not found.ok
    assert found.finished == (1, 2)
    (failed,) = rows(tmp_path / "a/failed.csv")
    assert failed == {"point": "0", "height [m]": "3.0", "attempts": "3", "error": "it hit a bird"}
    assert "InputError" in (tmp_path / "a/errors/000000.txt").read_text()
    data = read(tmp_path / "a/sweep.h5")
    assert list(data.finished) == [False, True, True]
    assert numpy.isnan(data.results["speed"].values[0])
    # On resume it is tried again, and it alone.
    assert not sweep(made, tmp_path / "a", quiet=True, resume=True, retries=0).ok
    assert started(tmp_path / "a") == [
        *("000000 from 0", "000001 from 0", "000002 from 0", "000000 from 20", "000000 from 0", "000000 from 20")
    ]


def test_a_crash_loses_the_running_point_alone(points: Callable[..., Plan], tmp_path: Path) -> None:
    """The state that kill -9 leaves: a torn line in the journal, a folder without a case, a stop file of before."""
    sweep(points(), tmp_path / "a", quiet=True)
    folder = tmp_path / "a"
    lines = (folder / "journal.jsonl").read_text().splitlines()
    (folder / "journal.jsonl").write_text(lines[0] + "\n" + lines[1][:7])
    shutil.rmtree(folder / "points/000002")
    (folder / "points/000002").mkdir()
    (folder / ".stop").touch()
    for name in ("sweep.csv", "sweep.h5", "sweep.png"):
        (folder / name).unlink()
    assert sweep(points(), folder, quiet=True, resume=True).ok
    assert started(folder)[3:] == ["000001 from 40", "000002 from 0"]


def test_another_sweep_does_not_go_on_in_the_folder(points: Callable[..., Plan], tmp_path: Path) -> None:
    sweep(points(), tmp_path / "a", quiet=True)
    with pytest.raises(InputError, match="exists; continue it with --resume"):
        sweep(points(), tmp_path / "a", quiet=True)
    with pytest.raises(InputError, match="a sweep of another parameters or values"):
        sweep(points("height=1:4:3 m"), tmp_path / "a", quiet=True, resume=True)
    with pytest.raises(InputError, match="a sweep of another case"):
        sweep(points(settings=["material=water"]), tmp_path / "a", quiet=True, resume=True)
    with pytest.raises(InputError, match="holds no sweep"):
        sweep(points(), tmp_path / "b", quiet=True, resume=True)


def test_the_command_line_lists_what_failed_and_exits_with_one(
    points: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    points()

    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["mindsci", "sweep", str(tmp_path / "fall.toml"), *arguments])
        monkeypatch.setattr(cli, "mount_hub", lambda: None)
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return int(stop.value.code or 0)

    assert run("--over", "height=1:3:2 m", "--dry-run") == 0
    assert "2 points (grid); every case is valid" in capsys.readouterr().out
    common = ("--over", "height=1:3:2 m", "--out", str(tmp_path / "a"))
    assert run(*common, "--set", "fault=always", "--retries", "0") == 1
    assert "1 (height = 3 m): it hit a bird" in capsys.readouterr().err
    assert run("--over", "heigth=1 m") == 2
    assert "did you mean 'height'" in capsys.readouterr().err
    assert run(*common, "--resume") == 2
    assert "another case" in capsys.readouterr().err
    assert run(*common, "--out", str(tmp_path / "b"), "--slurm", "queue=long") == 2
    assert "unknown key of --slurm 'queue'" in capsys.readouterr().err


def test_points_run_on_the_workers_of_a_scheduler(points: Callable[..., Plan], tmp_path: Path) -> None:
    """Threads of this process, as Dask's own tests have them: the points see the plugin, and no signal."""
    distributed = pytest.importorskip("dask.distributed", reason="needs Dask: pip install 'mindsci[dask]'")
    made = points("height=1:4:7 m", settings=["fault=once"])
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as local:
        found = sweep(made, tmp_path / "a", quiet=True, scheduler=local.scheduler_address)
    assert found.ok
    assert found.finished == tuple(range(7))
    assert len(json.loads((tmp_path / "a/points/000006/results.json").read_text())) == 3
