"""What `elec` adds to the core, and nothing else."""

from mindsci.plugins import Plugin

plugin = Plugin(
    name="elec",
    summary="electromagnetics: CAD geometry, FDTD, S-parameters",
    tasks={"antenna": "elec.case:AntennaCase", "fields": "elec.case:FieldsCase"},
    benchmarks={
        "fdtd": "elec.bench:fdtd",
        "fdtd-gradient": "elec.bench_gradient:fdtd_gradient",
        "fdtd-scaling": "elec.bench:fdtd_scaling",
        "geometry": "elec.bench_geometry:geometry",
    },
    readers={"mindelec_scattering": "elec.design.mindelec:read"},
    validations={
        "cavity": "elec.validation.cavities:cavity",
        "elec": "elec.validation.suite:elec",
        "inverted_f": "elec.validation.inverted_f:inverted_f",
    },
)
