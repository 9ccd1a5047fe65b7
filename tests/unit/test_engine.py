"""The choice of an engine is explained, and never silent."""

from __future__ import annotations

import pytest
import torch

from mindsci.kernels import choose_engine

CPU = torch.device("cpu")
ALL = {"reference": lambda: None, "numba": lambda: None, "triton": lambda: "no CUDA device"}


def test_auto_takes_the_fastest_that_can_serve() -> None:
    assert choose_engine("auto", device=CPU, available=ALL)[0] == "numba"
    engine, reason = choose_engine("auto", device=CPU, available=ALL | {"numba": lambda: "anisotropic media"})
    assert engine == "reference"
    assert reason == "numba cannot: anisotropic media"


def test_an_engine_asked_for_is_never_replaced() -> None:
    with pytest.raises(ValueError, match="engine 'triton' cannot run this case: no CUDA device"):
        choose_engine("triton", device=CPU, available=ALL)
    with pytest.raises(LookupError, match="did you mean 'numba'"):
        choose_engine("numbo", device=CPU, available=ALL)
