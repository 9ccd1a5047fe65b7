"""What `elec` adds to the core, and nothing else."""

from mindsci.plugins import Plugin

plugin = Plugin(
    name="elec",
    summary="electromagnetics: CAD geometry, FDTD, S-parameters",
    tasks={
        "antenna": "elec.case:AntennaCase",
        "fields": "elec.case:FieldsCase",
        "surrogate": "elec.surrogates.case:SurrogateCase",
    },
    models={
        "rational_reflection": "elec.surrogates.rational:RationalReflection",
        "dense_reflection": "elec.surrogates.dense:DenseReflection",
        "series_reflection": "elec.surrogates.dense:SeriesReflection",
    },
    benchmarks={
        "fdtd": "elec.bench:fdtd",
        "fdtd-gradient": "elec.bench_gradient:fdtd_gradient",
        "fdtd-scaling": "elec.bench:fdtd_scaling",
        "geometry": "elec.bench_geometry:geometry",
        "surrogates": "elec.surrogates.validate:approaches",
    },
    readers={
        "mindelec_scattering": "elec.design.mindelec:read",
        "reflection_curves": "elec.surrogates.curves:read",
    },
    trainings={"surrogate": "elec.surrogates.trainings:surrogate"},
    scalings={"slabs": "elec.scaling:slabs"},
    validations={
        "cavity": "elec.validation.cavities:cavity",
        "elec": "elec.validation.suite:elec",
        "surrogates": "elec.surrogates.validate:surrogates",
        "inverted_f": "elec.validation.inverted_f:inverted_f",
    },
)
