"""Frames from files: units, labels that are absent, lists of frames of any size, and data too large for memory."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.io import write

from mindsci import tree, units
from mindsci.errors import InputError, StorageError, UnknownNameError
from mindsci.train import Batches
from sponge import from_ase, neighbor_list
from sponge.data import cybertron
from sponge.data.batches import FrameData
from sponge.data.convention import convention
from sponge.data.files import read_file
from sponge.data.frames import Frames
from sponge.data.splits import split_frames
from sponge.data.store import CONTENTS
from sponge.potentials import SchNet, energy_and_forces

KCAL = convention({}, {"energy": "kcal/mol", "length": "angstrom"}, where="test")
EV = convention({}, {"energy": "eV", "length": "angstrom"}, where="test")


def labelled() -> list[Atoms]:
    """Molecules and crystals of different size, open and periodic; the second has no forces, one alone has a stress."""
    random = numpy.random.default_rng(0)
    made = [molecule("H2O"), molecule("CH4"), bulk("C", cubic=True), molecule("C2H6"), bulk("C")]
    for number, atoms in enumerate(made):
        atoms.positions += 0.05 * random.normal(size=(len(atoms), 3))
        labels = {"energy": -10.0 * len(atoms) + random.normal()}
        if number != 1:
            labels["forces"] = random.normal(size=(len(atoms), 3))
        if number == 2:
            labels["stress"] = random.normal(size=6)
        atoms.calc = SinglePointCalculator(atoms, **labels)
    return made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write(tmp_path / "frames.extxyz", labelled())
    return tmp_path / "frames.extxyz"


def data_of(frames: Frames, cutoff: float = 3.0) -> FrameData:
    return FrameData(frames, cutoff=cutoff, half=False, closest=0.2)


def test_frames_of_any_size_come_in_angstrom_and_electronvolts(file: Path) -> None:
    frames = read_file(file, KCAL, torch.float64)
    for index, atoms in enumerate(labelled()):
        one = slice(int(frames.first[index]), int(frames.first[index] + frames.count[index]))
        numpy.testing.assert_allclose(frames.positions[one], atoms.positions, atol=1e-7)
        numpy.testing.assert_allclose(frames.cell[index], atoms.cell.array, atol=1e-7)
        assert frames.atomic_numbers[one].tolist() == atoms.numbers.tolist()
        assert frames.periodic[index].tolist() == atoms.pbc.tolist()
        assert float(frames.energy[index]) == pytest.approx(atoms.get_potential_energy() * units.KCAL_PER_MOL_EV)
        if index == 1:
            assert bool(frames.forces[one].isnan().all())
        else:
            numpy.testing.assert_allclose(frames.forces[one], atoms.get_forces() * units.KCAL_PER_MOL_EV, atol=1e-8)
    stress = labelled()[2].get_stress(voigt=False) * units.KCAL_PER_MOL_EV
    numpy.testing.assert_allclose(frames.stress[2], stress, atol=1e-8)
    assert bool(frames.stress[[0, 1, 3, 4]].isnan().all())


def test_a_virial_is_minus_the_stress_times_the_volume(tmp_path: Path) -> None:
    atoms = bulk("C")
    atoms.info |= {"my_energy": -1.0, "my_virial": numpy.diag([1.0, 2.0, 3.0])}
    write(tmp_path / "one.xyz", [atoms], format="extxyz")
    known = convention(
        {"energy": "my_energy", "virial": "my_virial"}, {"energy": "eV", "length": "angstrom"}, where="test"
    )
    found = read_file(tmp_path / "one.xyz", known, torch.float64)
    numpy.testing.assert_allclose(found.stress[0], -numpy.diag([1.0, 2.0, 3.0]) / atoms.get_volume(), rtol=1e-6)


def test_a_database_of_ase_gives_the_same_frames(file: Path, tmp_path: Path) -> None:
    with connect(str(tmp_path / "frames.db")) as database:
        for atoms in labelled():
            database.write(atoms)
    from_xyz, from_db = read_file(file, EV, torch.float64), read_file(tmp_path / "frames.db", EV, torch.float64)
    for name in ("positions", "forces", "energy", "cell", "stress"):
        numpy.testing.assert_allclose(getattr(from_db, name), getattr(from_xyz, name), atol=1e-7)


def test_an_npz_of_one_molecule_gives_its_frames(tmp_path: Path) -> None:
    random = numpy.random.default_rng(0)
    water = molecule("H2O")
    stored = {
        "z": water.numbers, "R": water.positions + 0.05 * random.normal(size=(4, 3, 3)), "name": numpy.array("water"),
        "E": random.normal(size=(4, 1)) - 47_000.0, "F": random.normal(size=(4, 3, 3)),
    }  # fmt: skip
    path = tmp_path / "md17_water.npz"
    numpy.savez(path, **stored)
    named = convention({"energy": "E", "forces": "F"}, {"energy": "kcal/mol", "length": "angstrom"}, where="test")
    frames = read_file(path, named, torch.float64)
    assert frames.count.tolist() == [3] * 4 and frames.name(2) == "frame 2 of 'md17_water.npz'"
    numpy.testing.assert_allclose(frames.energy, stored["E"][:, 0] * units.KCAL_PER_MOL_EV)
    numpy.testing.assert_allclose(frames.forces.view(4, 3, 3), stored["F"] * units.KCAL_PER_MOL_EV)
    numpy.savez(path, **(stored | {"z": water.numbers[:2]}))
    with pytest.raises(InputError, match=r"R: shape \[4, 3, 3\], expected \[frames, 2, 3\]"):
        read_file(path, named)
    numpy.savez(path, E=stored["E"])
    with pytest.raises(InputError, match="has no positions"):
        read_file(path, named)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match="damaged or cut short"):
        read_file(path, named)


def test_gathered_lists_are_those_of_each_frame_alone(file: Path) -> None:
    frames = read_file(file, EV, torch.float64)
    model = SchNet(elements=["H", "C", "O"], features=8, interactions=2, gaussians=8, cutoff=3.0).double()
    batch = data_of(frames).collate(torch.tensor([3, 2, 0, 4]))
    energy, forces = energy_and_forces(model, batch.system, batch.neighbors)
    made = labelled()
    alone = [from_ase(made[index]) for index in (3, 2, 0, 4)]
    found = [energy_and_forces(model, one, neighbor_list(one, 3.0)) for one in alone]
    torch.testing.assert_close(energy, torch.cat([one[0] for one in found]), atol=1e-6, rtol=0)
    torch.testing.assert_close(forces, torch.cat([one[1] for one in found]), atol=1e-6, rtol=0)


def test_frames_on_disk_give_the_batches_of_frames_in_memory(file: Path) -> None:
    kept, streamed = read_file(file, EV, stream=False), read_file(file, EV, stream=True)
    assert kept.store is None and streamed.store is not None
    assert (streamed.store / CONTENTS).is_file()
    again = read_file(file, EV, stream=True)  # mapped from what was packed
    which = torch.tensor([4, 1, 2])
    for picked in (slice(None), torch.tensor([4, 3, 2, 1, 0])):
        expected = data_of(kept.select(picked)).collate(which)
        for other in (streamed, again):
            found = data_of(other.select(picked)).collate(which)
            for one, two in zip(tree.leaves(expected), tree.leaves(found), strict=True):
                torch.testing.assert_close(one, two, equal_nan=True, rtol=0, atol=0)
    assert not list(streamed.store.parent.glob(".writing-*"))
    assert len(list(streamed.store.parent.glob("lists-*"))) == 2


def test_a_packed_copy_that_was_cut_is_refused(file: Path) -> None:
    store = read_file(file, EV, stream=True).store
    assert store is not None
    (store / "positions.bin").write_bytes(b"cut")
    with pytest.raises(StorageError, match="remove the folder"):
        read_file(file, EV, stream=True)


def test_batches_of_like_size_hold_every_item_once_an_epoch() -> None:
    sizes = torch.randint(3, 30, (640,), generator=torch.Generator().manual_seed(0))
    batches = Batches(list(range(640)), 8, lambda items, rows: rows, shuffle_seed=1, drop_last=True, sizes=sizes)
    epoch = torch.stack([batches.at(step) for step in range(80)])
    assert sorted(epoch.flatten().tolist()) == list(range(640))
    assert float(sizes[epoch].double().std(dim=1).mean()) < 0.2 * float(sizes.double().std())
    assert not torch.equal(epoch[0], batches.at(80))
    assert torch.equal(epoch[3], batches.at(3))


def test_splits_come_from_an_index_file(file: Path, tmp_path: Path) -> None:
    frames = read_file(file, EV)
    index = tmp_path / "split.json"
    index.write_text(json.dumps({"train": [4, 0], "validation": [1], "test": [2, 3]}))
    splits = split_frames(frames, indices=index)
    assert [splits.of(name).row.tolist() for name in ("train", "validation", "test")] == [[4, 0], [1], [2, 3]]
    for text, message in (('{"train": [0, 9]}', "0 to 4"), ('{"train": [1, 1]}', "twice"), ("[]", "index file")):
        index.write_text(text)
        with pytest.raises(InputError, match=message):
            split_frames(frames, indices=index)


def test_normalised_files_of_cybertron_are_made_whole_again(tmp_path: Path) -> None:
    random = numpy.random.default_rng(0)
    numbers = numpy.array([[8, 1, 1, 0], [6, 1, 1, 1]])
    energy = -1000.0 + random.normal(size=2)
    reference = numpy.zeros((10, 1))
    reference[[1, 6, 8], 0] = -5.0, -50.0, -70.0
    count = numpy.array([3, 4])
    arrays = {
        "Z": numbers, "R": random.normal(size=(2, 4, 3)), "scale": [2.0], "shift": [-7.0], "type_ref": reference,
        "use_atomwise_scaleshift": [True], "length_unit": "nm", "energy_unit": "kj/mol",
        "E": ((energy - reference[numbers, 0].sum(1) + 7.0 * count) / 2.0)[:, None],
    }  # fmt: skip
    path = tmp_path / "normed.npz"
    numpy.savez(path, **arrays)
    stated = {"length": "nm", "energy": "kJ/mol"}
    frames = cybertron.read_file(path, stated, 0, True, torch.float64)
    numpy.testing.assert_allclose(frames.energy, energy * units.KJ_PER_MOL_EV, rtol=1e-12)
    assert frames.count.tolist() == [3, 4]
    numpy.testing.assert_allclose(frames.positions[3:], 10.0 * arrays["R"][1], rtol=1e-12)
    with pytest.raises(InputError, match=r"normed.npz', length_unit: the file is in nm, its card says angstrom"):
        cybertron.read_file(path, stated | {"length": "angstrom"}, 0, True, torch.float64)
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(InputError, match=r"normed.npz' is damaged or cut short"):
        cybertron.read_file(path, stated, 0, True, torch.float64)


def spoiled(file: Path, find: str, put: str) -> Path:
    text = file.read_text()
    assert find in text
    file.write_text(text.replace(find, put, 1))
    return file


def test_what_is_wrong_in_a_file_is_named_by_file_frame_and_key(tmp_path: Path) -> None:
    frames = [molecule("H2O") for _ in range(4)]
    for atoms in frames:
        atoms.calc = SinglePointCalculator(atoms, energy=-14.25, forces=numpy.full((3, 3), 0.125))
    path = tmp_path / "bad.xyz"
    last = "energy=-14.25"
    cases = {
        "frame 0 of .*bad.xyz', energy: not finite": (last, "energy=nan"),
        "frame 0 of .*bad.xyz', energy: 27.21 times .* hartree and eV": (last, f"energy={-14.25 * 27.2114}"),
        "frame 0 of .*bad.xyz', atom 0: 'Xy' is no element": ("O  ", "Xy "),
        "frame 0 of .*bad.xyz', forces: ": ("0.12500000\n", "a.b\n"),
        "frame 0 of .*bad.xyz', atom 0: 5 columns, expected 7": ("       0.12500000       0.12500000\n", "\n"),
        "frame 1 of .*bad.xyz': .* no number of atoms": ("\n3\n", "\n3 and a half\n"),
    }
    for message, (find, put) in cases.items():
        write(path, frames, format="extxyz")
        with pytest.raises(InputError, match=message):
            read_file(spoiled(path, find, put), EV)
    write(path, frames, format="extxyz")
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))
    with pytest.raises(InputError, match=r"frame 3 of .*bad.xyz' is cut short: 2 of 3 atoms"):
        read_file(path, EV)
    path.write_text("")
    with pytest.raises(InputError, match="no frame"):
        read_file(path, EV)


def test_atoms_too_close_and_lengths_in_another_unit_are_named(tmp_path: Path) -> None:
    frames = [molecule("H2O"), molecule("H2O")]
    frames[1].positions[2] = frames[1].positions[1] + [0.0, 0.0, 0.15]
    write(tmp_path / "close.xyz", frames, format="extxyz")
    with pytest.raises(InputError, match=r"frame 1 of 'close.xyz': atom 1 \(H\) and atom 2 \(H\) are 0.15 angstrom"):
        data_of(read_file(tmp_path / "close.xyz", EV))
    frames[1].positions = 0.1 * frames[0].positions  # nanometres
    write(tmp_path / "close.xyz", frames, format="extxyz")
    with pytest.raises(InputError, match=r"frame 1 of 'close.xyz': atom"):
        data_of(read_file(tmp_path / "close.xyz", EV))


def test_a_frame_in_another_unit_of_length_is_named(tmp_path: Path) -> None:
    random = numpy.random.default_rng(0)
    frames = [molecule("CH3CH2OH") for _ in range(6)]
    for atoms in frames:
        atoms.positions += 0.05 * random.normal(size=atoms.positions.shape)
    frames[2].positions[8] += 3.0  # a bond may break
    path = tmp_path / "mixed.xyz"
    write(path, frames, format="extxyz")
    read_file(path, EV)
    frames[4].positions *= 1.8897261
    write(path, frames, format="extxyz")
    with pytest.raises(
        InputError, match=r"frame 4 of 'mixed.xyz', positions: .* 1.89 times .* bohr and angstrom mixed"
    ):
        read_file(path, EV)


def test_keys_and_units_are_checked(file: Path) -> None:
    stated = {"energy": "eV", "length": "angstrom"}
    with pytest.raises(InputError, match="unit of length is not stated"):
        convention({}, {"energy": "eV"}, where="data")
    with pytest.raises(InputError, match="did you mean 'forces'"):
        convention({"force": "f"}, stated, where="data")
    with pytest.raises(InputError, match=r"units\.energy = 'kcal' is 2.61e\+22 eV.*did you mean .kcal/mol"):
        convention({}, stated | {"energy": "kcal"}, where="data")
    with pytest.raises(InputError, match=r"units\.length = 'um'"):
        convention({}, stated | {"length": "um"}, where="data")
    with pytest.raises(InputError, match="unknown unit"):
        convention({}, stated | {"energy": "eVolt"}, where="data")
    with pytest.raises(UnknownNameError, match="did you mean 'energy'"):
        read_file(file, convention({"energy": "energie"}, stated, where="data"))
    with pytest.raises(UnknownNameError, match="kind of structure file"):
        read_file(file.with_suffix(".pdb"), EV)
    with pytest.raises(StorageError, match="cannot read"):
        read_file(file.with_name("nowhere.xyz"), EV)


def test_cards_of_npy_sets_name_what_is_cut_short(tmp_path: Path) -> None:
    from sponge.data.deepmd import read

    random = numpy.random.default_rng(0)
    (tmp_path / "a" / "set.000").mkdir(parents=True)
    (tmp_path / "a" / "type.raw").write_text("0\n1\n1\n")
    (tmp_path / "a" / "type_map.raw").write_text("O H")
    arrays = {"coord": (4, 9), "force": (4, 9), "box": (4, 9), "energy": (4,)}
    for name, shape in arrays.items():
        numpy.save(tmp_path / "a" / "set.000" / f"{name}.npy", random.normal(size=shape))
    names = ["a/type.raw", "a/type_map.raw", *(f"a/set.000/{name}.npy" for name in arrays)]
    paths = {name: tmp_path / name for name in names}
    files = ["a/set.000/coord.npy"]
    splits = {name: SimpleNamespace(files=files, indices=None) for name in ("train", "test")}
    card = SimpleNamespace(name="made_up", folder=tmp_path, splits=splits)
    assert len(read(paths, card, validation=1).train) == 3
    numpy.save(paths["a/set.000/force.npy"], random.normal(size=(3, 9)))
    with pytest.raises(InputError, match=r"force.npy', force: \[3, 9\] numbers, expected \[4, 3, 3\]"):
        read(paths, card, validation=1)
    numpy.save(paths["a/set.000/force.npy"], numpy.full((4, 9), numpy.nan))
    with pytest.raises(InputError, match=r"force.npy', force: frame 0 is not finite"):
        read(paths, card, validation=1)
    paths["a/set.000/force.npy"].write_bytes(b"\x93NUMPY")
    with pytest.raises(InputError, match=r"force.npy' is damaged or cut short"):
        read(paths, card, validation=1)
