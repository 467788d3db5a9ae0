#!/bin/bash
# Stop what start.sh has started with the same folder.
folder=${1:?give a folder}
# Jobs outlive slurmd, to be found again by the next one: end them while it is there.
export SLURM_CONF="$folder/slurm.conf"
scancel --full --me 2>/dev/null
for _ in $(seq 30); do
    [ -z "$(squeue --noheader --me 2>/dev/null)" ] && break
    sleep 1
done
for name in slurmd slurmctld; do
    [ -f "$folder/$name.pid" ] && kill "$(cat "$folder/$name.pid")" 2>/dev/null
done
[ -f "$folder/munged.started" ] && kill "$(cat /run/munge/munged.pid)" 2>/dev/null
exit 0
