"""The names of optimizers in a study file."""

from cnnbo.daemon.document import Faults, did_you_mean, dotted, shown
from cnnbo.daemon.locate import KeyPath
from cnnbo.daemon.studyfile.words import foreign_value
from cnnbo.scheduler.optimizers.registry import canonical_name, optimizer_names


def read_optimizer(path: KeyPath, written: str, faults: Faults) -> str:
    """The registry's name of an optimizer; one that isn't known is noted, and the answer is then worthless."""
    if written in optimizer_names():
        return canonical_name(written)
    meant = foreign_value("optimizer", written)
    remedy = f'the nearest here is "{meant}".' if meant else did_you_mean(written, optimizer_names())
    faults.add(path, f"{dotted(path)}: there is none called {shown(written)}; {remedy}")
    return ""
