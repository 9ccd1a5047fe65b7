"""What `sponge` adds to the core, and nothing else."""

from mindsci.plugins import Plugin

plugin = Plugin(
    name="sponge",
    summary="molecular dynamics with learned and classical potentials",
    tasks={
        "train": "sponge.training_case:TrainPotentialCase",
        "md": "sponge.case:MolecularDynamicsCase",
        "analyse": "sponge.analysis.case:AnalyseCase",
    },
    models={
        "schnet": "sponge.potentials.schnet:SchNet",
        "physnet": "sponge.potentials.physnet:PhysNet",
        "molct": "sponge.potentials.molct:MolCT",
        "ensemble": "sponge.potentials.ensemble:Ensemble",
        "pair_spline": "sponge.potentials.pair_spline:PairSpline",
        "painn": "sponge.potentials.painn:PaiNN",
        "lennard_jones": "sponge.potentials.lennard_jones:LennardJones",
    },
    readers={
        "rmd17": "sponge.data.rmd17:read",
        "deepmd": "sponge.data.deepmd:read",
        "cybertron": "sponge.data.cybertron:read",
        "structures": "sponge.data.files:read",
        "prepared": "sponge.builders.prepared:read",
    },
    validations={
        "nve": "sponge.validate:nve",
        "ethanol": "sponge.validate:ethanol",
        "potentials": "sponge.validate_potentials:potentials",
        "thermostats": "sponge.validate_thermostats:thermostats",
        "barostats": "sponge.validate_barostats:barostats",
        "md": "sponge.validation:md",
    },
    benchmarks={
        "schnet_forces": "sponge.benchmark:schnet_forces",
        "neighbors": "sponge.bench_neighbors:neighbors",
        "schnet": "sponge.bench_schnet:schnet",
        "potentials": "sponge.bench_potentials:potentials",
        "md": "sponge.bench_md:md",
    },
    trainings={"schnet": "sponge.trainings:schnet"},
    scalings={"schnet": "sponge.scaling:schnet"},
)
