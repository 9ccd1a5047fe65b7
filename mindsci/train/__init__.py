"""One trainer for every domain: a Task says what is learnt, the Trainer how the steps are taken."""

from __future__ import annotations

from mindsci.train.batches import Batches, take
from mindsci.train.case import TrainingCase
from mindsci.train.config import OptimizerConfig, TrainerConfig
from mindsci.train.parallel import Group, process_group
from mindsci.train.schedule import Constant, Cosine, Plateau
from mindsci.train.task import ModelRecord, Task
from mindsci.train.trainer import DivergedError, Outcome, Trainer
from mindsci.train.workspace import Workspace

__all__ = [
    "Batches",
    "Constant",
    "Cosine",
    "DivergedError",
    "Group",
    "ModelRecord",
    "OptimizerConfig",
    "Outcome",
    "Plateau",
    "Task",
    "Trainer",
    "TrainerConfig",
    "TrainingCase",
    "Workspace",
    "process_group",
    "take",
]
