"""PhysNet's form for use against plain torch, whose energy is differentiated by torch.

Setup: small PhysNets with random weights, filters and biases, float64 unless said; two molecules in a batch, one of
them charged, and a crystal in a triclinic cell whose atoms meet their own images. What stands between the two is the
table of filters; the Coulomb energy is the formula's in both.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from compiled_potentials import (
    ELEMENTS,
    SYSTEMS,
    check_errors,
    check_form_for_use,
    check_single_precision,
    two_molecules,
    with_references,
)

from mindsci import tree
from mindsci.errors import InputError
from sponge import neighbor_list
from sponge.neighbors import all_pairs
from sponge.potentials import PhysNet
from sponge.potentials.physnet_compiled import CompiledPhysNet

COULOMB: dict[str, Any] = {"molecules": {}, "crystal": {"coulomb_cutoff": 6.0}}
SMALL: dict[str, Any] = {"features": 20, "modules": 2, "basis": 16, "cutoff": 4.0}


def some_physnet(**options: Any) -> PhysNet:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        model = PhysNet(elements=ELEMENTS, **options).double()
        with torch.no_grad():
            for weight in model.parameters():  # Some begin at zero, where nothing would be tested.
                weight.add_(0.05 * torch.randn_like(weight))
    return with_references(model).requires_grad_(False)


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_form_for_use_agrees_as_closely_as_its_table(name: str) -> None:
    system = SYSTEMS[name]()
    if name == "molecules":
        system = tree.replace(system, auxiliary={"charge": torch.tensor([0.0, -1.0], dtype=torch.float64)})
    check_form_for_use(some_physnet(**SMALL, **COULOMB[name]), CompiledPhysNet, system, halves=(False,))


def test_without_charges_and_with_other_numbers_of_layers_it_agrees_too() -> None:
    model = some_physnet(**SMALL, electrostatics=False, message_residuals=1, atom_residuals=0, output_residuals=2)
    system = two_molecules()
    exact = model.evaluate(system, all_pairs(system, half=True))
    found = CompiledPhysNet(model, dtype=torch.float64).evaluate(system, all_pairs(system))
    check_errors(found, exact, system, energy=1e-5, forces=1e-4)


def test_single_precision_at_the_papers_size_keeps_the_gates() -> None:
    check_single_precision(some_physnet())


def test_a_new_model_which_has_no_filters_yet_has_a_form_for_use() -> None:
    model = with_references(PhysNet(elements=ELEMENTS, **SMALL)).requires_grad_(False)
    compiled = model.for_use(dtype=torch.float64)
    assert compiled.error == compiled.slope_error == 0.0
    system = two_molecules()
    exact = model.evaluate(system, all_pairs(system, half=True))
    check_errors(compiled.evaluate(system, all_pairs(system)), exact, system, energy=1e-12, forces=1e-12)


def test_it_takes_full_lists_and_keeps_no_graph() -> None:
    system, compiled = two_molecules(), some_physnet(**SMALL).for_use(dtype=torch.float64)
    with pytest.raises(InputError, match="compiled PhysNet takes full lists"):
        compiled.evaluate(system, all_pairs(system, half=True))
    with pytest.raises(InputError, match="keeps no graph"):
        compiled.evaluate(system, all_pairs(system), create_graph=True)
    with pytest.raises(InputError, match="make it with coulomb_cutoff"):
        compiled.check(SYSTEMS["crystal"]())


def test_a_list_that_ends_before_the_coulomb_energy_is_enough() -> None:
    system, compiled = two_molecules(), some_physnet(**SMALL).for_use(dtype=torch.float64)
    near, far = (compiled.evaluate(system, one, virial=True) for one in (neighbor_list(system, 4.0), all_pairs(system)))
    for one, other in ((near.energy, far.energy), (near.forces, far.forces), (near.virial, far.virial)):
        assert torch.allclose(one, other, rtol=1e-13, atol=1e-12)
