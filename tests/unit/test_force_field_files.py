"""Force fields in OpenMM's form: terms found by kinds, residues by graphs, energies as OpenMM's.

Tolerance: 1e-7 of a term beside OpenMM's Reference platform, both in float64; 1e-5 of torsions of proteins, where
impropers of equal kinds may be ordered by another residue of the same kinds in OpenMM, which remembers the first.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mindsci import units
from mindsci.errors import InputError, StorageError, UnknownNameError
from sponge.builders import from_pdb, parametrise, read_force_field, read_structure
from sponge.validation.openmm_peer import COULOMB
from sponge.validation.references import open_options, terms

STORED = json.loads((Path(__file__).parents[1] / "openmm_terms.json").read_text())["cases"]
GROUPS = {
    "HarmonicBondForce": ("bonds",),
    "HarmonicAngleForce": ("angles",),
    "PeriodicTorsionForce": ("torsions", "impropers"),
    "CMAPTorsionForce": ("torsion_maps",),
    "NonbondedForce": ("lennard_jones", "lennard_jones_14", "coulomb", "coulomb_14"),
}
METHANOL = """<ForceField>
 <AtomTypes>
  <Type name="C" class="CT" element="C" mass="12"/><Type name="O" class="OH" element="O" mass="16"/>
  <Type name="HC" class="H1" element="H" mass="1"/><Type name="HO" class="HO" element="H" mass="1"/>
  <Type name="M" class="M" mass="0"/>
 </AtomTypes>
 <Residues>
  <Residue name="MOH">
   <Atom name="C" type="C" charge=".1"/><Atom name="O" type="O" charge="-.6"/><Atom name="M" type="M" charge="-.1"/>
   <Atom name="HA" type="HC" charge=".05"/><Atom name="HB" type="HC" charge=".05"/>
   <Atom name="HC" type="HC" charge=".05"/><Atom name="HO" type="HO" charge=".45"/>
   <Bond atomName1="C" atomName2="O"/><Bond atomName1="C" atomName2="HA"/><Bond atomName1="C" atomName2="HB"/>
   <Bond atomName1="C" atomName2="HC"/><Bond atomName1="O" atomName2="HO"/>
   <VirtualSite type="average2" siteName="M" atomName1="O" atomName2="C" weight1=".9" weight2=".1"/>
   <AllowPatch name="DEPR"/>
  </Residue>
 </Residues>
 <HarmonicBondForce><Bond class1="CT" class2="OH" length=".14" k="1000"/>
  <Bond class1="CT" class2="H1" length=".11" k="1000"/><Bond class1="OH" class2="HO" length=".1" k="1000"/>
 </HarmonicBondForce>
 <HarmonicAngleForce><Angle class1="" class2="CT" class3="" angle="1.9" k="300"/>
  <Angle class1="CT" class2="OH" class3="HO" angle="1.9" k="300"/></HarmonicAngleForce>
 <PeriodicTorsionForce>
  <Proper class1="" class2="CT" class3="OH" class4="" periodicity1="3" phase1="0" k1="1"/>
  <Proper type1="HC" type2="C" type3="O" type4="HO" periodicity1="3" phase1="0" k1="2"/>
 </PeriodicTorsionForce>
 <NonbondedForce coulomb14scale=".5" lj14scale=".25"><UseAttributeFromResidue name="charge"/>
  <Atom type="C" sigma=".3" epsilon=".4"/><Atom type="O" sigma=".3" epsilon=".6"/>
  <Atom type="HC" sigma=".2" epsilon=".1"/><Atom type="HO" sigma="1" epsilon="0"/><Atom type="M" sigma="1" epsilon="0"/>
 </NonbondedForce>
</ForceField>
"""
MOLECULE = """ATOM      1  C1  MET A   1       0.000   0.000   0.000  1.00  0.00           C
ATOM      2  O1  MET A   1       1.400   0.000   0.000  1.00  0.00           O
ATOM      3  H1  MET A   1      -0.400   1.000   0.000  1.00  0.00           H
ATOM      4  H2  MET A   1      -0.400  -0.500   0.870  1.00  0.00           H
ATOM      5  H3  MET A   1      -0.400  -0.500  -0.870  1.00  0.00           H
ATOM      6  H4  MET A   1       1.700   0.900   0.000  1.00  0.00           H
"""


def write(folder: Path, text: str = METHANOL, molecule: str = MOLECULE) -> tuple[Path, Path]:
    (folder / "field.xml").write_text(text)
    (folder / "molecule.pdb").write_text(molecule)
    return folder / "molecule.pdb", folder / "field.xml"


def test_energies_are_those_of_openmm(data_mirror: Path) -> None:
    for row in STORED:
        if row["case"].startswith("DHFR"):
            continue
        check(row, data_mirror)


@pytest.mark.slow
def test_energies_of_a_protein_are_those_of_openmm(data_mirror: Path) -> None:
    for row in STORED:
        if row["case"].startswith("DHFR"):
            check(row, data_mirror)


def check(row: dict[str, Any], mirror: Path) -> None:
    path = mirror / "biomolecular" / row["structure"]
    system, topology = from_pdb(path, row["force_field"], rigid_water=False, periodic=False)
    assert system.n_atoms == row["energies"]["particles"]
    found = terms(system, topology, open_options(COULOMB), units.KJ_PER_MOL_EV)
    for force, parts in GROUPS.items():
        ours = sum(found.get(part, 0.0) for part in parts)
        tolerance = 1e-5 if force == "PeriodicTorsionForce" else 1e-7
        assert ours == pytest.approx(row["energies"].get(force, 0.0), rel=tolerance, abs=1e-9), (row["case"], force)


def test_a_residue_is_found_by_its_graph_whatever_its_names(tmp_path: Path) -> None:
    system, topology = from_pdb(*write(tmp_path))
    assert topology.atom_names == ("C1", "O1", "H1", "H2", "H3", "H4", "M")
    assert topology.nonbonded.charges.tolist() == [0.1, -0.6, 0.05, 0.05, 0.05, 0.45, -0.1]
    # The site lies on the bond, takes part in no term and shares the exclusions of its parent.
    assert system.positions[6].tolist() == pytest.approx([1.26, 0.0, 0.0])
    assert system.masses[6] == 0.0 and system.atomic_numbers[6] == 0
    assert {(int(i), int(j)) for i, j in topology.nonbonded.exclusions} == {
        (i, j) for i in range(7) for j in range(i + 1, 7)
    }


def test_entries_without_wildcards_come_first(tmp_path: Path) -> None:
    _, topology = from_pdb(*write(tmp_path))
    assert topology.torsions.barrier.tolist() == pytest.approx([2.0 * units.KJ_PER_MOL_EV] * 3)
    assert topology.pairs14.atoms.tolist() == [[2, 5], [3, 5], [4, 5]]
    assert topology.pairs14.charge_product.tolist() == pytest.approx([0.5 * 0.05 * 0.45] * 3)


def test_a_patch_and_a_table_of_pairs(tmp_path: Path) -> None:
    """CHARMM's way: a patch takes the hydrogen away, one pair of kinds has parameters of its own."""
    added = """<Patches><Patch name="DEPR"><RemoveAtom name="HO"/><ChangeAtom name="O" type="O" charge="-1"/>
     <RemoveBond atomName1="O" atomName2="HO"/></Patch></Patches>
     <LennardJonesForce lj14scale="1"><Atom type="C" sigma=".35" epsilon=".3"/><Atom type="O" sigma=".3" epsilon=".5"/>
      <Atom type="HC" sigma=".2" epsilon=".1" sigma14=".1" epsilon14=".4"/><Atom type="HO" sigma=".1" epsilon="0"/>
      <Atom type="M" sigma=".1" epsilon="0"/><NBFixPair type1="C" type2="O" sigma=".5" epsilon=".7"/>
     </LennardJonesForce></ForceField>"""
    text = METHANOL.replace("</ForceField>", added)
    text = text.replace('<VirtualSite type="average2" siteName="M" atomName1="O" atomName2="C" weight1=".9"', "<Unused")
    text = text.replace('<Unused weight2=".1"/>', "").replace('<Atom name="M" type="M" charge="-.1"/>', "")
    molecule = "".join(MOLECULE.splitlines(keepends=True)[:5])
    _, topology = from_pdb(*write(tmp_path, text, molecule))
    kinds = topology.nonbonded.kind.tolist()
    assert topology.nonbonded.charges.tolist() == [0.1, -1.0, 0.05, 0.05, 0.05]
    assert float(topology.nonbonded.sigma[kinds[0], kinds[1]]) == pytest.approx(5.0)
    assert float(topology.nonbonded.epsilon[kinds[1], kinds[0]] / units.KJ_PER_MOL_EV) == pytest.approx(0.7)
    assert float(topology.nonbonded.sigma[kinds[0], kinds[0]]) == pytest.approx(3.5)


def test_files_combine_and_include(tmp_path: Path) -> None:
    molecule, whole = write(tmp_path)
    (tmp_path / "both.xml").write_text('<ForceField><Include file="field.xml"/></ForceField>')
    system, _ = from_pdb(molecule, [tmp_path / "both.xml", whole])
    assert system.n_atoms == 7
    with pytest.raises(StorageError, match=r"absent.xml' \(included by"):
        (tmp_path / "both.xml").write_text('<ForceField><Include file="absent.xml"/></ForceField>')
        read_force_field(tmp_path / "both.xml")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('<Bond class1="CT" class2="OH" length=".14" k="1000"/>', "", "no bond of the types C-O.*C1 of MET 1, chain A"),
        ('<Angle class1="CT" class2="OH" class3="HO" angle="1.9" k="300"/>', "", "no angle of the types C-O-HO"),
        ('type1="HC" type2="C" type3="O"', 'type1="C" type2="C" type3="O"', None),
        ('<Atom type="HC" sigma=".2" epsilon=".1"/>', "", "H1 of MET 1, chain A .type HC. has no Lennard-Jones"),
        ('type="HO" charge=".45"', 'type="HO"', "H4 of MET 1, chain A .type HO. has no charge"),
        ("<ForceField>", "<!DOCTYPE x [<!ENTITY a 'b'>]><ForceField>", "declares a document type"),
        ("<ForceField>", "<ForceField><Script>print(1)</Script>", "programs are not run"),
        ("<ForceField>", "<ForceField><DrudeForce/>", "has a DrudeForce"),
        ('k1="1"', 'k1="one"', "PeriodicTorsionForce: could not convert"),
        ('<Bond atomName1="O" atomName2="HO"/>', "", "beside MOH|nearest is MOH"),
        ('type="average2"', 'type="localCoords"', "kind localCoords"),
        ("</ForceField>", "", "is no XML"),
    ],
)
def test_what_is_missing_is_named(old: str, new: str, words: str | None, tmp_path: Path) -> None:
    assert old in METHANOL
    paths = write(tmp_path, METHANOL.replace(old, new, 1))
    if words is None:  # the entry with wildcards is left
        assert from_pdb(*paths)[1].torsions.barrier[0] == pytest.approx(units.KJ_PER_MOL_EV)
        return
    with pytest.raises(InputError, match=words):
        from_pdb(*paths)


def test_templates_that_differ_are_a_choice_of_the_caller(tmp_path: Path) -> None:
    start, end = METHANOL.index("  <Residue name="), METHANOL.index(" </Residues>")
    twin = METHANOL[start:end].replace("MOH", "TWIN").replace('charge=".1"', 'charge=".2"')
    molecule, field = write(tmp_path, METHANOL[:end] + twin + METHANOL[end:])
    structure = read_structure(molecule)
    with pytest.raises(InputError, match="MET 1, chain A may be MOH, TWIN"):
        parametrise(structure, field)
    _, topology = parametrise(structure, field, templates={"A:1": "TWIN"})
    assert float(topology.nonbonded.charges[0]) == 0.2
    with pytest.raises(UnknownNameError, match="A:1"):
        parametrise(structure, field, templates={"A:2": "TWIN"})
