#!/bin/bash
# A Slurm of this host alone, from Debian's packages, without systemd, cgroups or accounting:
#   apt-get install -y --no-install-recommends slurm-wlm munge
#   tests/slurm/start.sh DIR; export SLURM_CONF=DIR/slurm.conf PATH=$PWD/tests/slurm/bin:$PATH
#   tests/slurm/stop.sh DIR
# Run as root. Everything it writes is below DIR, but for munge's own folders; it listens on loopback.
set -eu
folder=$(mkdir -p "${1:?give a folder}" && cd "$1" && pwd)
host=$(hostname -s)
mkdir -p "$folder"/{state,spool,log}
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
cat >"$folder/slurm.conf" <<CONF
ClusterName=joulebench
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
AuthType=auth/munge
AuthInfo=cred_expire=5
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
PriorityType=priority/basic
ReturnToService=2
KillWait=30
MinJobAge=3600
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
export SLURM_CONF=$folder/slurm.conf
if ! munge -n >/dev/null 2>&1; then
    install -d -o munge -g munge -m 0755 /run/munge /var/log/munge /var/lib/munge
    [ -f /etc/munge/munge.key ] || runuser -u munge -- /usr/sbin/mungekey --create
    runuser -u munge -- /usr/sbin/munged --pid-file=/run/munge/munged.pid
    touch "$folder/munged.started"
    for _ in $(seq 50); do munge -n >/dev/null 2>&1 && break; sleep 0.1; done
fi
/usr/sbin/slurmctld
/usr/sbin/slurmd
for _ in $(seq 300); do
    sinfo -h -o %T 2>/dev/null | grep -qE '^(idle|mixed|allocated)' && exit 0
    sleep 0.1
done
echo "Slurm did not come up within 30 s:" >&2
tail -n 20 "$folder"/log/*.log >&2
exit 1
