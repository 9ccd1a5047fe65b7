"""Systems that OpenMM wrote: numbers come out in our units, forces that are not known are refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest

from mindsci.errors import InputError, StorageError
from mindsci.units import KJ_PER_MOL_EV
from sponge.builders import from_openmm_system

SYSTEM = """<?xml version="1.0" ?>
<System openmmVersion="8.2" type="System" version="1">
 <Particles>
  <Particle mass="15.999"/><Particle mass="1.008"/><Particle mass="1.008"/>
  <Particle mass="0"><ThreeParticleAverageSite p1="0" p2="1" p3="2" w1=".7" w2=".2" w3=".1"/></Particle>
  <Particle mass="0"><OutOfPlaneSite p1="0" p2="1" p3="2" w12=".2" w13=".1" wc="3"/></Particle>
 </Particles>
 <Constraints><Constraint d=".1514" p1="1" p2="2"/></Constraints>
 <Forces>
  <Force type="HarmonicBondForce"><Bonds><Bond d=".1" k="1000" p1="0" p2="1"/></Bonds></Force>
  <Force type="HarmonicAngleForce"><Angles><Angle a="1.8" k="300" p1="1" p2="0" p3="2"/></Angles></Force>
  <Force type="PeriodicTorsionForce"><Torsions>
   <Torsion k="2" p1="0" p2="1" p3="2" p4="3" periodicity="3" phase="1"/></Torsions></Force>
  <Force type="CMAPTorsionForce">
   <Maps><Map size="2"><Energy e="0"/><Energy e="1"/><Energy e="2"/><Energy e="3"/></Map></Maps>
   <Torsions><Torsion a1="0" a2="1" a3="2" a4="3" b1="1" b2="2" b3="3" b4="4" map="0"/></Torsions></Force>
  <Force type="NonbondedForce">
   <Particles><Particle eps=".6" q="-.8" sig=".3"/><Particle eps="0" q=".4" sig="1"/><Particle eps="0" q=".4" sig=".2"/>
    <Particle eps="0" q="0" sig="1"/><Particle eps="0" q="0" sig="1"/></Particles>
   <Exceptions><Exception eps="0" p1="1" p2="0" q="0" sig="1"/><Exception eps=".5" p1="1" p2="2" q=".1" sig=".25"/>
   </Exceptions></Force>
  <Force type="CMMotionRemover" frequency="1"/>
 </Forces>
</System>
"""


def write(folder: Path, text: str = SYSTEM) -> Path:
    (folder / "system.xml").write_text(text)
    return folder / "system.xml"


def test_every_term_comes_out_in_our_units(tmp_path: Path) -> None:
    system, topology = from_openmm_system(write(tmp_path), numpy.zeros((5, 3)), cell=30.0 * numpy.eye(3))
    assert system.atomic_numbers.tolist() == [8, 1, 1, 0, 0] and system.periodic.all()
    assert topology.bonds.length.tolist() == [1.0]
    assert topology.bonds.stiffness.tolist() == pytest.approx([10.0 * KJ_PER_MOL_EV])
    assert topology.angles.atoms.tolist() == [[1, 0, 2]]
    assert topology.torsions.periodicity.tolist() == [3]
    assert (topology.torsion_maps.grids[0] / KJ_PER_MOL_EV).tolist() == [[0.0, pytest.approx(2.0)], [1.0, 3.0]]
    assert topology.constraints.length.tolist() == pytest.approx([1.514])
    assert topology.virtual_sites.weights.tolist() == [pytest.approx([0.7, 0.2, 0.1])] * 2
    assert topology.virtual_sites.cross.tolist() == pytest.approx([0.0, 0.3])
    assert topology.nonbonded.exclusions.tolist() == [[0, 1], [1, 2]]
    assert topology.pairs14.atoms.tolist() == [[1, 2]] and topology.pairs14.sigma.tolist() == [2.5]
    kinds = topology.nonbonded.kind.tolist()
    assert len(set(kinds)) == 2 and float(topology.nonbonded.sigma[kinds[0], kinds[0]]) == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("CMMotionRemover", "CustomBondForce", "has a CustomBondForce"),
        ("OutOfPlaneSite", "LocalCoordinatesSite", "atom 4 is a LocalCoordinatesSite"),
        ("</System>", "", "is no XML"),
        ("CMAPTorsionForce", "PeriodicTorsionForce", "more than one PeriodicTorsionForce"),
    ],
)
def test_what_is_not_known_is_refused_by_name(old: str, new: str, words: str, tmp_path: Path) -> None:
    text = SYSTEM.replace(old, new)
    if old.startswith("CMAP"):
        row = '<Torsion k="2" p1="0" p2="1" p3="2" p4="3" periodicity="3" phase="1"/>'
        text = text.replace('<Torsion a1="0" a2="1" a3="2" a4="3" b1="1" b2="2" b3="3" b4="4" map="0"/>', row)
    with pytest.raises(InputError, match=words):
        from_openmm_system(write(tmp_path, text), numpy.zeros((5, 3)))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="does not exist"):
        from_openmm_system(tmp_path / "none.xml", numpy.zeros((5, 3)))
