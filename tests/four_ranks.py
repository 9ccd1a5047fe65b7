"""Four processes go on with trainings that one process has interrupted: see distributed/test_processes.py."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from distributed_ranks import FOUR, spread_trainer
from safetensors.torch import save_file

from mindsci.train import process_group
from mindsci.train.metrics import MetricsTable


def main() -> None:
    top, rank = Path(sys.argv[1]), int(os.environ["RANK"])
    folder = top / f"attempt_{os.environ['TORCHELASTIC_RESTART_COUNT']}"
    MetricsTable.plot = lambda *_: None  # type: ignore[method-assign]
    if rank == 0:
        for name in FOUR:
            shutil.copytree(top / "of_one" / name / "checkpoints", folder / name / "checkpoints")
    with process_group() as group:
        for name in FOUR:
            made = spread_trainer(folder / name, name, ranks=group.world, resuming=True)
            made.fit()
            whole = made.state.whole(made.model.state_dict())
            if group.writes:
                save_file(whole, top / f"{name}.safetensors")


if __name__ == "__main__":
    main()
