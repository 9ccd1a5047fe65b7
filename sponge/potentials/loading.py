"""Potentials from where they are kept: a pretrained card, or the folder of a training run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from mindsci import config, plugins
from mindsci.errors import InputError, StorageError
from mindsci.hub import load_pretrained
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
        return _from_training(Path(model), device, dtype)
    return Ensemble(members=[_from_training(Path(one), device, dtype) for one in model])


def _from_training(path: Path, device: torch.device | str, dtype: torch.dtype | None) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    record = config.read_case_text(path)
    weights = path.parent / "model.safetensors"
    if set(record) != {"builder", "config"} or not isinstance(record["builder"], str):
        raise InputError(f"'{path}' is no model.toml of a training run: it needs the keys builder and config")
    if not weights.is_file():
        raise StorageError(f"'{weights}' is missing; a training run writes it beside model.toml")
    model = plugins.get("models", record["builder"])(**record["config"]).to(device=device, dtype=dtype)
    try:
        model.load_state_dict(load_file(weights), strict=True)
    except (RuntimeError, SafetensorError) as error:
        raise InputError(f"the weights '{weights}' do not fit '{path}': {error}") from None
    return model
