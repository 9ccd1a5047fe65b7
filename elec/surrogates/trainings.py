"""Trainings of a minute or two, for the benchmarks of the trainer."""

from __future__ import annotations

from typing import Any


def surrogate() -> dict[str, Any]:
    """Moving zeros and poles for MindElec's bow-tie, one network."""
    return {
        "task": "elec/surrogate",
        "data": {"dataset": "mindelec_bowtie", "batch_size": 32},
        "model": {"name": "elec/rational_reflection", "options": {"pairs": 10, "members": 1}},
        "trainer": {
            "steps": 2_000,
            "clip_norm": 1.0,
            "validate_every": 100,
            "checkpoint_every": 2_000,
            "log_every": 500,
            "monitor": "loss",
            "optimizer": {"learning_rate": 2e-3},
            "schedule": {"name": "cosine", "warmup_steps": 50, "final_fraction": 1e-3},
        },
    }
