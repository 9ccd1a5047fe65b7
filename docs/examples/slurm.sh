#!/bin/bash
# A case on several nodes: sbatch --nodes 4 slurm.sh case.toml [options of `mindsci run`]
#SBATCH --job-name=mindsci
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@120
set -euo pipefail

# Processes of a node: one for each GPU of a training, one for each socket (or group of cores) of a field solver.
PROCESSES=${PROCESSES:-4}
export OMP_NUM_THREADS=$((SLURM_CPUS_PER_TASK / PROCESSES))
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

# exec: so that the signal of Slurm reaches torchrun, which passes it on.
exec srun --kill-on-bad-exit=1 torchrun \
    --nnodes "$SLURM_NNODES" \
    --nproc-per-node "$PROCESSES" \
    --rdzv-id "$SLURM_JOB_ID" \
    --rdzv-backend c10d \
    --rdzv-endpoint "$first:${PORT:-29500}" \
    -m mindsci run "$@"
