"""What a run of field sources leaves behind: fields, patterns or cross-sections, widths of beams."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from elec.case.radiation import CrossSection, Profile, cross_sections, profiles, radiated
from elec.case.source_model import SourceModel, Sums
from elec.outputs import write_volume
from elec.pictures import plot_cross_section, plot_pattern

if TYPE_CHECKING:
    from elec.case.fields import FieldsCase
    from mindsci.runs import Run


def write_source_results(run: Run, case: FieldsCase, model: SourceModel, sums: Sums) -> None:
    """Writes everything that follows from the Fourier sums of a run."""
    monitors = model.setting.monitors
    boxes = sums.unpacked(case, model)
    shown = case.fields.frequencies or case.far_field.frequencies
    fields = {frequency: boxes[0][monitors.frequencies.index(frequency)] for frequency in shown}
    write_volume(run, model.setting, monitors.boxes[0], fields, of="the sources' amplitudes")
    figures: dict[str, Any] = {}
    if model.sources[0].table.kind == "plane_wave":
        for section in cross_sections(case, model, boxes):
            figures |= _write_cross_section(run, section)
    else:
        for one in radiated(case, model, boxes):
            label, at = _label(one.pattern.frequency), f"at {one.pattern.frequency / 1e9:.4g} GHz"
            with run.writing(f"pattern_{label}.png") as path:
                plot_pattern(path, one.pattern)
            names = (f"directivity at phi {angle:g} deg [dBi]" for angle in one.pattern.phi)
            cuts = dict(zip(names, one.pattern.cuts, strict=True))
            run.table(f"pattern_{label}.csv", {"theta [deg]": one.pattern.theta} | cuts)
            figures |= {
                f"directivity {at} [dBi]": one.pattern.directivity,
                f"directivity {at}": 10.0 ** (0.1 * one.pattern.directivity),
                f"radiated power {at} [W]": one.power,
            }
    for source in model.sources:
        suffix = "" if len(model.sources) == 1 else f"_{source.name.replace(' ', '_')}"
        for profile in profiles(case, model, source, boxes):
            figures |= _write_profile(run, profile, source.beam, suffix)
    if sums.level > case.time.decay + 0.5:
        run.log(
            f"warning: after {sums.steps[1]} steps the run is at {sums.level:.1f} dB, above {case.time.decay:g} dB: "
            "what is still in the grid is missing from all figures; raise time.n_steps"
        )
    figures |= {
        "cells": model.grid.n_cells,
        "steps": sums.steps[1],
        "time step [ps]": model.setting.dt * 1e12,
        "left at the end [dB]": sums.level,
        "engine": model.step().engine,
    }
    if sums.rate is not None:
        figures["Mcells/s"] = sums.rate
    run.results(figures)


def _write_cross_section(run: Run, section: CrossSection) -> dict[str, Any]:
    label, at = _label(section.frequency), f"at {section.frequency / 1e9:.4g} GHz"
    with run.writing(f"cross_section_{label}.png") as path:
        plot_cross_section(path, section)
    columns = {
        "angle from the direction of travel [deg]": section.angle,
        "sigma in the E plane [m^2]": section.electric_plane,
        "sigma in the H plane [m^2]": section.magnetic_plane,
    }
    run.table(f"cross_section_{label}.csv", columns)
    return {
        f"monostatic radar cross-section {at} [m^2]": section.back,
        f"monostatic radar cross-section {at} [dBsm]": 10.0 * math.log10(max(section.back, 1e-30)),
        f"forward cross-section {at} [m^2]": section.forward,
        f"scattering cross-section {at} [m^2]": section.scattering,
    }


def _write_profile(run: Run, profile: Profile, beam: Any, suffix: str) -> dict[str, Any]:
    columns = {
        "distance from the focus [m]": profile.distance,
        "radius [m]": profile.radius,
        "radius of the paraxial beam [m]": profile.paraxial,
    }
    run.table(f"beam_{_label(profile.frequency)}{suffix}.csv", columns)
    at, of = f"at {profile.frequency / 1e9:.4g} GHz", suffix.replace("_", " ")
    length = beam.rayleigh_length(profile.frequency)
    figures = {f"Rayleigh length {at}{of} [mm]": 1e3 * length}
    for where, place in (("at the focus", 0.0), ("a Rayleigh length on", length)):
        if profile.distance.min() <= place <= profile.distance.max():
            order = np.argsort(profile.distance)
            radius = np.interp(place, profile.distance[order], profile.radius[order])
            figures[f"beam radius {where} {at}{of} [mm]"] = 1e3 * float(radius)
    return figures


def _label(frequency: float) -> str:
    return f"{frequency / 1e9:.4g}_GHz"
