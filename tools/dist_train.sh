#!/usr/bin/env bash
# Trains with several processes, one for each GPU: bash tools/dist_train.sh CONFIG GPUS [options of tools/train.py]
# Several machines: on each, with NNODES (their number), NODE_RANK (0, 1, ...), MASTER_ADDR and PORT set.
set -euo pipefail
config=${1:?usage: dist_train.sh CONFIG GPUS [options of tools/train.py]}
gpus=${2:?usage: dist_train.sh CONFIG GPUS [options of tools/train.py]}
exec python -m torch.distributed.run --nproc_per_node="$gpus" --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    "$(dirname "$0")/train.py" "$config" --launcher pytorch "${@:3}"
