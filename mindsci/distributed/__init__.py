"""How a model and its training are spread over processes: the plan, what it takes, and how it is found."""

from mindsci.distributed.halo import Border, LostProcessError, Slab, exchanged, slabs
from mindsci.distributed.held import held
from mindsci.distributed.ledger import Ledger, ledger
from mindsci.distributed.master import MasterOptimizer
from mindsci.distributed.planner import Estimate, Machine, estimates
from mindsci.distributed.profile import Profile, profile
from mindsci.distributed.spread import expert_group, local_bytes, optimizer_for, sharded_optimizer, spread
from mindsci.distributed.table import Layout

__all__ = [
    "Border",
    "LostProcessError",
    "Slab",
    "exchanged",
    "expert_group",
    "slabs",
    "Estimate",
    "Layout",
    "Ledger",
    "Machine",
    "MasterOptimizer",
    "Profile",
    "estimates",
    "held",
    "ledger",
    "local_bytes",
    "optimizer_for",
    "profile",
    "sharded_optimizer",
    "spread",
]
