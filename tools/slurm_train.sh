#!/usr/bin/env bash
# Trains on a SLURM cluster, a task for each GPU:
#   GPUS=8 GPUS_PER_NODE=4 CPUS_PER_TASK=5 SRUN_ARGS='--time=24:00:00' \
#       bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG [options of tools/train.py]
set -euo pipefail
usage='usage: slurm_train.sh PARTITION JOB_NAME CONFIG [options of tools/train.py]'
partition=${1:?$usage} job_name=${2:?$usage} config=${3:?$usage}
gpus=${GPUS:-4} gpus_per_node=${GPUS_PER_NODE:-4}
# SRUN_ARGS is several words.
# shellcheck disable=SC2086
exec srun --partition="$partition" --job-name="$job_name" --ntasks="$gpus" --ntasks-per-node="$gpus_per_node" \
    --gres="gpu:$gpus_per_node" --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
    python -u "$(dirname "$0")/train.py" "$config" --launcher slurm "${@:4}"
