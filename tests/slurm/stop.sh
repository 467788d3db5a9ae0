#!/bin/bash
# Stop what start.sh has started with the same folder.
folder=${1:?give a folder}
for name in slurmd slurmctld; do
    [ -f "$folder/$name.pid" ] && kill "$(cat "$folder/$name.pid")" 2>/dev/null
done
[ -f "$folder/munged.started" ] && kill "$(cat /run/munge/munged.pid)" 2>/dev/null
exit 0
