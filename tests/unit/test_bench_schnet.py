"""`mindsci bench schnet`: what it hands to SchNetPack, and what it says where SchNetPack is missing."""

from __future__ import annotations

import pytest

from sponge.bench_schnet import report
from sponge.potentials import SchNet


def test_without_the_peer_no_gate_is_met(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [*report.GATES, "NVE steps, aspirin"]
    monkeypatch.setattr(report, "_run", lambda name, command, threads: {case: [2.0, 1.0, 3.0] for case in cases})
    found = report.schnet()
    assert [row.ok for row in found.rows] == [None] * len(found.rows)
    assert not found.complete and found.rows[0].measured == 2.0


def test_every_weight_has_a_name_at_the_peer() -> None:
    model = SchNet(**report.SHAPE)
    named = report._schnetpack_names(model)
    assert len(named) == len(list(model.parameters()))
    assert sum(array.size for array in named.values()) - 100 * 128 == (
        sum(weight.numel() for weight in model.parameters()) - model.embedding.weight.numel()
    )
    embedding = named["representation.embedding.weight"]
    assert embedding[6].tolist() == model.embedding.weight[1].tolist() and not embedding[2].any()


def test_the_boxes_of_water_have_the_density_of_the_liquid() -> None:
    for name, atoms in report.systems().items():
        if name.startswith("water"):
            density = 1.66053907 * atoms.get_masses().sum() / atoms.get_volume()
            assert density == pytest.approx(1.0, abs=0.01)
