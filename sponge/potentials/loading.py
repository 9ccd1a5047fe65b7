"""Potentials from where they are kept: a pretrained card, or the folder of a training run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from mindsci.errors import InputError
from mindsci.hub import load_pretrained, load_trained
from sponge.potentials.ensemble import Ensemble
from sponge.potentials.potential import Potential


def load_potential(
    *,
    pretrained: str | None = None,
    model: Path | str | Sequence[Path | str] | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
) -> Potential:
    """Returns a potential for use: evaluation mode, and no gradient for its parameters.

    Args:
        pretrained: name of a card.
        model: the model.toml that a training run writes; model.safetensors lies beside it. Several of them make an
            ensemble (`sponge.potentials.Ensemble`).

    Raises InputError for what is no potential, StorageError for what is not there.
    """
    if (pretrained is None) == (model is None):
        raise InputError("name one source of the potential: pretrained (a card) or model (a model.toml)")
    loaded = (
        load_pretrained(pretrained, device=device, dtype=dtype)
        if pretrained is not None
        else _from_trainings(model, device, dtype)  # type: ignore[arg-type]
    )
    if not isinstance(loaded, Potential):
        raise InputError(f"'{pretrained or model}' is a {type(loaded).__name__}, not a potential; choose another")
    return loaded.requires_grad_(False).eval()


def _from_trainings(model: Path | str | Sequence[Path | str], device: torch.device | str, dtype: Any) -> Any:
    if isinstance(model, (str, Path)):
        return load_trained(model, device=device, dtype=dtype)
    return Ensemble(members=[load_trained(one, device=device, dtype=dtype) for one in model])  # type: ignore[misc]
