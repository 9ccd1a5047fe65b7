"""Run folders: whole files or none, a restart that comes back to the bit, a stop that loses nothing."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import torch

from mindsci import runs
from mindsci.config import Case, Quantity
from mindsci.errors import InputError


class Count(Case):
    """Adds 1 to a number in chunks of ten, and asks itself to stop where `stop_at` says."""

    task: str = "test/count"
    steps: int = 40
    pause: Quantity("s") = "0.1 s"
    stop_at: int = -1

    def run(self, run: runs.Run) -> None:
        value, start = torch.zeros(2), 0
        found = run.load_restart()
        if found is not None:
            tensors, meta = found
            value, start = tensors["value"], meta["step"]
        with run.progress(self.steps, "counting", done=start) as progress:
            for first, count in runs.chunks(start, self.steps, 10):
                value = value + count
                progress.advance(count)
                if first + count == self.stop_at and not run.resuming:
                    os.kill(os.getpid(), signal.SIGINT)
                run.save_restart({"value": value}, {"step": first + count})
                if run.stop_requested:
                    run.stop()
        run.results({"value": float(value[0])})


def results(folder: Path) -> dict:
    return json.loads((folder / "results.json").read_text())


def test_a_run_writes_its_case_provenance_and_results(tmp_path: Path) -> None:
    runs.execute(Count(), tmp_path / "a", quiet=True)
    assert results(tmp_path / "a") == {"value": 40.0}
    assert 'pause = "0.1 s"' in (tmp_path / "a/case.toml").read_text()
    provenance = json.loads((tmp_path / "a/provenance.json").read_text())
    assert provenance["machine"]["torch"] == torch.__version__
    assert not list((tmp_path / "a").glob(".writing*"))


def test_ctrl_c_stops_after_the_chunk_and_resume_continues(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = Count(stop_at=20)
    with pytest.raises(runs.Interrupted, match="--resume"):
        runs.execute(case, tmp_path / "a", quiet=True)
    assert "stopping after this chunk" in capsys.readouterr().err
    assert not (tmp_path / "a/results.json").exists()
    runs.execute(case, tmp_path / "a", quiet=True, resume=True)
    assert results(tmp_path / "a") == {"value": 40.0}


def test_the_signal_handlers_are_put_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    runs.execute(Count(), tmp_path / "a", quiet=True)
    assert signal.getsignal(signal.SIGINT) is before


def test_an_existing_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/keep.txt").write_text("x")
    with pytest.raises(ValueError, match="exists; continue it with --resume, or choose another folder with --out"):
        runs.execute(Count(), tmp_path / "a", quiet=True)
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["keep.txt"]


class Impossible(Count):
    """Finds out that it cannot run, after writing `written` files."""

    written: int = 0

    def run(self, run: runs.Run) -> None:
        run.log("looking")
        for number in range(self.written):
            run.path(f"part{number}").write_text("computed")
        raise InputError("use another element")


def test_a_case_that_fails_before_it_computed_anything_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="another element"):
        runs.execute(Impossible(), tmp_path / "a", quiet=True)
    assert not (tmp_path / "a").exists()


def test_what_was_computed_is_kept_when_the_run_fails_later(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="another element"):
        runs.execute(Impossible(written=1), tmp_path / "a", quiet=True)
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"part0", *runs.OWN_FILES}


def test_resuming_nothing_or_another_case_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no run"):
        runs.execute(Count(), tmp_path / "a", quiet=True, resume=True)
    runs.execute(Count(), tmp_path / "b", quiet=True)
    with pytest.raises(ValueError, match="the case differs"):
        runs.execute(Count(steps=50), tmp_path / "b", quiet=True, resume=True)


def test_a_damaged_restart_is_named(tmp_path: Path) -> None:
    runs.execute(Count(), tmp_path / "a", quiet=True)
    (tmp_path / "a" / runs.RESTART).write_bytes(b"half a file")
    with pytest.raises(ValueError, match="is damaged"):
        runs.execute(Count(), tmp_path / "a", quiet=True, resume=True)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="choose another with --out"):
        runs.execute(Count(), tmp_path / "file" / "a", quiet=True)


def test_chunks_end_on_multiples_wherever_they_begin() -> None:
    assert list(runs.chunks(0, 25, 10)) == [(0, 10), (10, 10), (20, 5)]
    assert list(runs.chunks(7, 25, 10)) == [(7, 3), (10, 10), (20, 5)]
    assert list(runs.chunks(25, 25, 10)) == []


def test_the_folder_of_a_resolved_case_is_its_own(tmp_path: Path) -> None:
    runs.execute(Count(), tmp_path / "a", quiet=True)
    assert runs.default_folder(tmp_path / "a/case.toml") == tmp_path / "a"
    assert runs.default_folder(Path("docs/examples/patch.toml")) == Path("runs/patch")


def test_a_folder_that_another_process_works_in_is_refused(tmp_path: Path) -> None:
    with runs.Run(Count(), tmp_path / "a", quiet=True), pytest.raises(InputError, match="another process is running"):
        runs.execute(Count(), tmp_path / "a", quiet=True, resume=True)
    assert not (tmp_path / "a" / runs.LOCK).exists()


def test_a_folder_that_was_there_before_is_kept_when_the_case_fails(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(InputError, match="another element"):
        runs.execute(Impossible(), tmp_path / "mine", quiet=True)
    assert list((tmp_path / "mine").iterdir()) in ([], [tmp_path / "mine" / runs.LOCK])
    runs.execute(Count(), tmp_path / "mine", quiet=True)


def test_several_processes_are_refused_by_a_task_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="runs in one process, and 2 were started"):
        runs.execute(Count(), tmp_path / "a", quiet=True)
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("RANK", "1")  # left over from a batch job
    runs.execute(Count(), tmp_path / "a", quiet=True)
    assert results(tmp_path / "a") == {"value": 40.0}
