"""The comparison of potentials at equal training time."""

from __future__ import annotations

import inspect

import pytest

from mindsci import plugins
from mindsci.errors import UnknownNameError
from sponge.bench_potentials import OPTIONS, potentials
from sponge.plugin import plugin


def test_every_compared_potential_takes_its_options() -> None:
    for name in OPTIONS.keys() & plugin.models.keys():
        options = OPTIONS[name]
        assert options.keys() <= inspect.signature(plugins.get("models", f"sponge/{name}")).parameters.keys()


def test_a_potential_that_is_not_compared_is_named() -> None:
    with pytest.raises(UnknownNameError, match="unknown model 'schnett'; did you mean 'schnet'"):
        potentials(models="schnett")
