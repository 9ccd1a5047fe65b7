"""Small systems run in one thread, and the caller's threads come back."""

from __future__ import annotations

import pytest
import torch
from ase.build import bulk, molecule

from sponge import from_ase
from sponge.threads import suited_threads


def test_a_small_system_gets_one_thread_and_a_large_one_all() -> None:
    before = torch.get_num_threads()
    with suited_threads(from_ase(molecule("H2O"))):
        assert torch.get_num_threads() == 1
    with suited_threads(from_ase(bulk("Ar").repeat(4))):
        assert torch.get_num_threads() == before
    with pytest.raises(ValueError), suited_threads(from_ase(molecule("H2O"))):
        raise ValueError
    assert torch.get_num_threads() == before
