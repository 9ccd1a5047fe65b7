"""SchNet beside SchNetPack's: force calls and training steps, the same weights, each in a process of its own."""

from sponge.bench_schnet.report import schnet

__all__ = ["schnet"]
