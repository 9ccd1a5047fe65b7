"""Structures in PDB and mmCIF: what their columns and categories say of atoms, residues, bonds and the cell."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest

from mindsci.errors import InputError, StorageError
from sponge.builders import read_structure
from sponge.builders.biomolecules.pdb import hybrid36
from sponge.builders.biomolecules.structure import join_structures, take_atoms


def line(name: str, residue: str, number: str, place: tuple[float, float, float], **fields: str) -> str:
    """An ATOM line in columns."""
    serial, alternate, chain = fields.get("serial", "1"), fields.get("alternate", " "), fields.get("chain", "A")
    x, y, z = place
    return (
        f"ATOM  {serial:>5} {name:<4}{alternate}{residue:<4}{chain}{number:>4}{fields.get('code', ' ')}   "
        f"{x:8.3f}{y:8.3f}{z:8.3f}{float(fields.get('occupancy', '1')):6.2f}  0.00          "
        f"{fields.get('element', ''):>2}\n"
    )


def read(folder: Path, text: str, name: str = "one.pdb") -> object:
    (folder / name).write_text(text)
    return read_structure(folder / name)


def test_numbers_beyond_the_columns() -> None:
    assert [hybrid36(one) for one in ("9999", "A000", "A001", "ZZZZ", "a000", "-12")] == [
        9999,
        10000,
        10001,
        10000 + 26 * 36**3 - 1,
        10000 + 26 * 36**3,
        -12,
    ]
    assert hybrid36("A0000") == 100000


def test_alternate_locations_of_a_residue_go_together(tmp_path: Path) -> None:
    text = line(" N", "SER", "1", (0, 0, 0))
    for letter, shift, occupancy in (("A", 0.0, "0.4"), ("B", 0.5, "0.6")):
        text += line(" CA", "SER", "1", (1.45 + shift, 0, 0), alternate=letter, occupancy=occupancy)
    text += line(" CB", "SER", "1", (2.0, 1.4, 0), alternate="A", occupancy="0.4")
    found = read(tmp_path, text)
    # CB has the first location alone, the rest of the residue is at the second.
    assert found.atom_names == ("N", "CA", "CB")
    assert found.positions[1].tolist() == [1.95, 0.0, 0.0]


def test_insertion_codes_and_repeated_names_part_residues(tmp_path: Path) -> None:
    text = line(" CA", "GLY", "52", (0, 0, 0)) + line(" CA", "GLY", "52", (9, 0, 0), code="A")
    text += line(" O", "HOH", "0", (0, 9, 0)) + line(" O", "HOH", "0", (0, 18, 0))
    found = read(tmp_path, text)
    assert [(one.name, one.number) for one in found.residues] == [
        ("GLY", "52"),
        ("GLY", "52A"),
        ("HOH", "0"),
        ("HOH", "0"),
    ]
    assert found.label_of(1) == "A:52A"


def test_elements_are_told_by_columns_of_names(tmp_path: Path) -> None:
    rows = [(" CA", "ALA"), ("CA", "CA"), ("NA", "NA"), ("CL", "CL-"), ("1HB", "ALA"), (" HG1", "THR"), ("SE", "MSE")]
    text = "".join(line(name, residue, str(at), (9.0 * at, 0, 0)) for at, (name, residue) in enumerate(rows))
    text += line(" EPW", "WAT", "9", (0, 9, 0)) + line("X1", "LIG", "10", (0, 18, 0), element="ZN")
    assert read(tmp_path, text).atomic_numbers.tolist() == [6, 20, 11, 17, 1, 1, 34, 30]


def test_bonds_are_told_by_distances_and_as_stated(tmp_path: Path) -> None:
    text = line(" SG", "CYS", "3", (0, 0, 0), serial="1") + line(" SG", "CYS", "9", (2.05, 0, 0), serial="2")
    text += line(" C1", "LIG", "11", (0, 9, 0), serial="3") + line(" C2", "LIG", "12", (2.5, 9, 0), serial="4")
    text += line("ZN", "ZN", "13", (0, 0, 2.3), serial="5") + "CONECT    3    4\nCONECT    1    5\n"
    # A metal has no covalent bonds, whatever a file states.
    assert read(tmp_path, text).bonds.tolist() == [[0, 1], [2, 3]]


def test_the_cell_and_one_model(tmp_path: Path) -> None:
    crystal = "CRYST1   30.000   40.000   50.000  80.00  90.00 110.00 P 1           1\n"
    atom, other = line(" CA", "GLY", "1", (0, 0, 0)), line(" CA", "GLY", "1", (1, 0, 0))
    text = f"{crystal}MODEL        3\n{atom}ENDMDL\nMODEL        4\n{other}ENDMDL\n"
    found = read(tmp_path, text)
    assert found.n_atoms == 1 and found.positions[0, 0] == 0.0
    assert read_structure(tmp_path / "one.pdb", model=4).positions[0, 0] == 1.0
    lengths = numpy.linalg.norm(found.cell, axis=1)
    assert lengths.tolist() == pytest.approx([30.0, 40.0, 50.0])
    assert found.cell[0] @ found.cell[1] / 1200.0 == pytest.approx(numpy.cos(numpy.radians(110.0)))
    assert read(tmp_path, "CRYST1    1.000    1.000    1.000  90.00  90.00  90.00 P 1\n" + atom).cell is None


CIF = """data_X
_cell.length_a 30.0
_cell.length_b 30.0
_cell.length_c 30.0(2)
_cell.angle_alpha 90
_cell.angle_beta 90
_cell.angle_gamma 90
_struct.title
;a title over
lines
;
loop_
_atom_site.group_PDB
_atom_site.id
_atom_site.type_symbol
_atom_site.label_atom_id
_atom_site.label_alt_id
_atom_site.label_comp_id
_atom_site.label_asym_id
_atom_site.label_seq_id
_atom_site.pdbx_PDB_ins_code
_atom_site.Cartn_x
_atom_site.Cartn_y
_atom_site.Cartn_z
_atom_site.occupancy
_atom_site.auth_seq_id
_atom_site.auth_asym_id
_atom_site.pdbx_PDB_model_num
ATOM 1 C "C1'" . DA A 1 ? 0.0 0.0 0.0 1.0 7 B 1
ATOM 2 S SG A CYS A 2 B 5.0 0.0 0.0 0.7 8 B 1
ATOM 3 S SG B CYS A 2 B 5.5 0.0 0.0 0.3 8 B 1
ATOM 4 S SG . CYS A 3 ? 8.0 0.0 0.0 1.0 9 B 1
ATOM 5 C 'C 1' . LIG A 4 ? 8.0 9.0 0.0 1.0 9 B 2
loop_
_struct_conn.id
_struct_conn.conn_type_id
_struct_conn.ptnr1_label_atom_id
_struct_conn.ptnr1_auth_asym_id
_struct_conn.ptnr1_auth_seq_id
_struct_conn.pdbx_ptnr1_PDB_ins_code
_struct_conn.ptnr2_label_atom_id
_struct_conn.ptnr2_auth_asym_id
_struct_conn.ptnr2_auth_seq_id
_struct_conn.pdbx_ptnr2_PDB_ins_code
disulf1 disulf SG B 8 B SG B 9 ?
#
"""


def test_categories_of_mmcif(tmp_path: Path) -> None:
    found = read(tmp_path, CIF, "one.cif")
    assert found.atom_names == ("C1'", "SG", "SG") and found.atomic_numbers.tolist() == [6, 16, 16]
    assert [found.label_of(number) for number in range(3)] == ["B:7", "B:8B", "B:9"]
    assert found.positions[:, 0].tolist() == [0.0, 5.0, 8.0] and found.bonds.tolist() == [[1, 2]]
    assert found.cell[2, 2] == pytest.approx(30.0)
    assert read_structure(tmp_path / "one.cif", model=2).atom_names == ("C 1",)


def test_structures_are_cut_and_joined(tmp_path: Path) -> None:
    text = "".join(line(f" C{k}", "LIG", str(k // 2), (1.5 * k, 0, 0)) for k in range(4))
    found = read(tmp_path, text)
    assert found.bonds.tolist() == [[0, 1], [1, 2], [2, 3]]
    cut = take_atoms(found, numpy.array([False, False, True, True]))
    assert cut.bonds.tolist() == [[0, 1]] and [one.number for one in cut.residues] == ["1"]
    both = join_structures(cut, found)
    assert both.bonds.tolist() == [[0, 1], [2, 3], [3, 4], [4, 5]] and both.residue_of_atom.tolist() == [
        0,
        0,
        1,
        1,
        2,
        2,
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("END\n", "no atom"),
        (line(" CA", "GLY", "1", (0, 0, 0)).replace("0.000", "zero ", 1), "cannot be read"),
        (line(" Q", "GLY", "1", (0, 0, 0)), "element of atom 1"),
    ],
)
def test_what_is_no_structure_is_refused(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        read(tmp_path, text)
    with pytest.raises(StorageError, match="does not exist"):
        read_structure(tmp_path / "absent.pdb")
