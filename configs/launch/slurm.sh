#!/bin/bash
# Starts a Ray cluster over the nodes of a SLURM job and trains on it. Not run here.
#
#   sbatch configs/launch/slurm.sh                      trains configs/cluster.yaml
#   sbatch configs/launch/slurm.sh CONFIG [key=value ...] [--resume]
#
# Submit it from the repository (or set RLTRAIN_HOME): that directory, with .venv and runs/ in it, must be on a
# file system that all nodes see.

#SBATCH --job-name=rltrain
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --exclusive
#SBATCH --time=24:00:00
#SBATCH --output=rltrain-%j.log
#SBATCH --signal=B:TERM@300

set -euo pipefail

home=${RLTRAIN_HOME:-$SLURM_SUBMIT_DIR}
cd "$home"
source .venv/bin/activate
[ $# -gt 0 ] || set -- configs/cluster.yaml

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
address=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | awk '{print $1}')
port=6379
gpus=${SLURM_GPUS_ON_NODE:-8}

# Each `ray start --block` is a step of the job; SLURM ends them all when this script ends.
srun --nodes=1 --ntasks=1 --nodelist="$head" --overlap \
  ray start --head --node-ip-address="$address" --port="$port" --num-gpus="$gpus" --disable-usage-stats --block &
for _ in $(seq 60); do
  ray status --address="$address:$port" > /dev/null 2>&1 && break
  sleep 2
done
if [ "${#nodes[@]}" -gt 1 ]; then
  srun --nodes=$((${#nodes[@]} - 1)) --ntasks=$((${#nodes[@]} - 1)) --exclude="$head" --overlap \
    ray start --address="$address:$port" --num-gpus="$gpus" --disable-usage-stats --block &
fi
alive() {
  python -c "import ray; ray.init('$address:$port', log_to_driver=False); print(sum(n['Alive'] for n in ray.nodes()))" \
    2> /dev/null || echo 0
}
for _ in $(seq 60); do
  [ "$(alive)" -ge "${#nodes[@]}" ] && break
  sleep 2
done

# SLURM's TERM, five minutes before the time is over, ends the run; --resume goes on from its newest checkpoint.
config=$1
shift
rltrain train "$config" distributed.ray_address="$address:$port" run.console=false "$@" &
run=$!
trap 'kill -TERM "$run"' TERM
status=0
wait "$run" || status=$?
while kill -0 "$run" 2> /dev/null; do # a signal ends `wait` early; the run is given time to end by itself
  wait "$run" || status=$?
done
ray stop --force > /dev/null 2>&1 || true
exit "$status"
