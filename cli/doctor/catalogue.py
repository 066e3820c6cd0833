"""Which checks there are, in the order in which they are told."""

from typing import Final

from cnnbo.cli.doctor.broker import check_broker
from cnnbo.cli.doctor.daemon import check_daemon
from cnnbo.cli.doctor.data import check_data
from cnnbo.cli.doctor.devices import check_devices
from cnnbo.cli.doctor.installation import check_installation
from cnnbo.cli.doctor.runner import Check
from cnnbo.cli.doctor.service import check_service
from cnnbo.cli.doctor.slurm import check_slurm
from cnnbo.cli.doctor.state import check_state
from cnnbo.cli.doctor.study import check_study
from cnnbo.cli.doctor.training import check_training

_DRIVER: Final = "type nvidia-smi; if that hangs as well, the driver does: reboot this box"
_DISK: Final = "see which disk hangs: type df; a network share that is away may have to be unmounted"

CHECKS: Final = (
    Check("cnnbo", check_installation, 10.0, _DISK),
    Check("study", check_study, 20.0, _DISK),
    Check("driver", check_devices, 60.0, _DRIVER),
    Check("slurm", check_slurm, 10.0, "see the kernel log: /proc does not answer"),
    Check("state", check_state, 30.0, _DISK),
    Check("data", check_data, 60.0, _DISK),
    Check("daemon", check_daemon, 20.0, "restart the daemon"),
    Check("broker", check_broker, 40.0, "see whether its host answers, and the firewall between"),
    Check("service", check_service, 20.0, "see whether systemd answers: systemctl status"),
    Check("trial", check_training, 180.0, f"{_DRIVER}; or try one device at a time: --devices 0"),
)
