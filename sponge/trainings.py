"""Trainings of a minute or two, for the benchmarks of the trainer."""

from __future__ import annotations

from typing import Any


def schnet() -> dict[str, Any]:
    """SchNet on 950 frames of ethanol, energies and forces."""
    return {
        "task": "sponge/train",
        "data": {"dataset": "rmd17_ethanol", "labels": "original", "validation": 50, "batch_size": 10},
        "model": {"name": "sponge/schnet", "options": {"features": 64, "interactions": 3, "gaussians": 32}},
        "loss": {"energy_weight": 0.01, "force_weight": 1.0},
        "trainer": {
            "steps": 2_000,
            "clip_norm": 10.0,
            "validate_every": 100,
            "checkpoint_every": 2_000,
            "log_every": 500,
            "monitor": "loss",
            "optimizer": {"learning_rate": 1e-3},
            "schedule": {"name": "cosine", "warmup_steps": 50, "final_fraction": 1e-3},
        },
    }
