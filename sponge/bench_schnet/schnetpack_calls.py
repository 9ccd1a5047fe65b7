"""SchNetPack's side of `mindsci bench schnet`: run by the Python that has SchNetPack, on the folder of `report`.

It needs nothing of ours. The whole model is saved and loaded, as SchNetPack's calculator wants it; the file is local.
"""

from __future__ import annotations

import json
import os
import sys
import time

os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"

import numpy as np
import torch
import torch.utils.data.dataloader as loader
import torch.utils.data.dataset as dataset

# Names that SchNetPack 2.1.1 imports from torch, and that newer ones lack.
if not hasattr(loader, "T_co"):
    loader.T_co = getattr(dataset, "T_co", None) or dataset._T_co
if not hasattr(loader, "_collate_fn_t"):
    loader._collate_fn_t = object

import schnetpack as spk
from ase.io import read
from schnetpack.interfaces import AtomsConverter, SpkCalculator
from schnetpack.nn import shifted_softplus
from schnetpack.transform import MatScipyNeighborList

folder, repeats, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
CUTOFF = 5.0
torch.set_num_threads(threads)


def build():
    representation = spk.representation.SchNet(
        n_atom_basis=128,
        n_interactions=6,
        radial_basis=spk.nn.GaussianRBF(n_rbf=20, cutoff=CUTOFF),
        cutoff_fn=spk.nn.CosineCutoff(CUTOFF),
    )
    outputs = [
        spk.atomistic.Atomwise(n_in=128, output_key="energy", activation=shifted_softplus),
        spk.atomistic.Forces(energy_key="energy", force_key="forces"),
    ]
    model = spk.model.NeuralNetworkPotential(
        representation=representation, input_modules=[spk.atomistic.PairwiseDistances()], output_modules=outputs
    )
    with np.load(f"{folder}/weights.npz") as weights:
        given = {name: torch.from_numpy(weights[name]) for name in weights}
    missing, unexpected = model.load_state_dict(given, strict=False)
    if unexpected or any(name.endswith(("weight", "bias")) for name in missing):
        raise SystemExit(f"weights do not fit: missing {missing}, unexpected {unexpected}")
    return model


def times(call):
    found = []
    for _ in range(repeats + 2):
        began = time.perf_counter()
        call()
        found.append(1e3 * (time.perf_counter() - began))
    return found[2:]


def save(case, energy, forces):
    np.savez(f"{folder}/schnetpack_{case}.npz", energy=energy, forces=forces)


timed = {}
torch.save(build(), f"{folder}/schnetpack.pt")
for case in ("ethanol", "aspirin", "water192", "water1536"):
    atoms = read(f"{folder}/{case}.xyz")
    calculator = SpkCalculator(
        model_file=f"{folder}/schnetpack.pt",
        neighbor_list=MatScipyNeighborList(cutoff=CUTOFF),
        energy_key="energy",
        force_key="forces",
        energy_unit="eV",
        position_unit="Ang",
    )
    calculator.model.eval()
    calculator.calculate(atoms, ["energy", "forces"])
    save(case, calculator.results["energy"], calculator.results["forces"])

    def call(atoms=atoms, calculator=calculator):
        atoms.positions += 1e-4
        calculator.calculate(atoms, ["energy", "forces"])

    timed[case] = times(call)
aspirin = read(f"{folder}/aspirin.xyz")
converter = AtomsConverter(neighbor_list=MatScipyNeighborList(cutoff=CUTOFF), device="cpu", dtype=torch.float32)
model = build().eval()
found = model(converter([aspirin] * 64))
save("aspirin x 64", found["energy"].detach().numpy(), found["forces"].detach().numpy())
timed["aspirin x 64"] = times(lambda: model(converter([aspirin] * 64)))
for size in (10, 100):
    model = build().train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    batch = converter([aspirin] * size)

    def step(model=model, optimizer=optimizer, batch=batch):
        optimizer.zero_grad()
        out = model(dict(batch))
        loss = 0.01 * out["energy"].square().mean() + 0.99 * out["forces"].square().mean()
        loss.backward()
        optimizer.step()

    timed[f"training, {size} aspirins"] = times(step)
print(json.dumps(timed))
