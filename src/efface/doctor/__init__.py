"""What is installed here, what of it works, and what would repair the rest.

Nothing here imports torch or torchvision, nor anything that does: it must run where they cannot be imported. What could
fail or crash is tried in a process of its own.
"""

from collections.abc import Callable

from efface.doctor.facts import Facts, builtin_models, machine, packages, places, settings
from efface.doctor.finding import Finding, size
from efface.doctor.installed import local_build, of_attempts, of_packages, pair_finding
from efface.doctor.probes import PROBES, attempt_all
from efface.doctor.surroundings import of_devices, of_machine, of_places, of_settings


def examine(finished: Callable[[str], None] = lambda name: None) -> Facts:
    """Looks at this environment: some seconds, as everything heavy is imported once, in other processes.

    Args:
        finished: told the name of each attempt that has come to its end.
    """
    return Facts(
        machine=machine(),
        packages=packages(),
        attempts=attempt_all(PROBES, finished),
        places=places(),
        settings=settings(),
        builtin_models=builtin_models(),
    )


def findings(facts: Facts) -> list[Finding]:
    """Everything that facts mean, in the order in which it is best read."""
    torch = facts.package("torch")
    pair = pair_finding(torch, facts.package("torchvision"), facts.attempt("torchvision"))
    return [
        *of_machine(facts.machine),
        *of_packages(facts.packages, local=local_build(torch)),
        *([pair] if pair else []),
        *of_attempts(facts, is_pair_named=pair is not None and pair.level == "problem"),
        *of_devices(facts.machine, facts.attempt("torch")),
        *of_places(facts.places),
        *of_settings(facts.settings, facts.machine),
        *(Finding("ok", f"builtin:{name}", size(held)) for name, held in facts.builtin_models.items()),
    ]
