"""What the measurement ran on, and what else the machine did meanwhile.

Whatever cannot be read is ``None`` or absent, never 0. Nothing here tells who ran it: no user, no
home folder, and of the environment only the variables that steer threads and devices.
"""

from bench.machine.identity import cpu, fingerprint, gpus, host_name, source_state
from bench.machine.limits import cpu_limit_cores, power_limits_w
from bench.machine.load import HostLoad, cpu_seconds
from bench.machine.state import Circumstances, HostState, Sensors

__all__ = [
    "Circumstances",
    "HostLoad",
    "HostState",
    "Sensors",
    "cpu",
    "cpu_limit_cores",
    "cpu_seconds",
    "fingerprint",
    "gpus",
    "host_name",
    "power_limits_w",
    "source_state",
]
