"""What is to be made of the packages: those that lack, those that do not belong together, those that cannot be used."""

from collections.abc import Iterator, Sequence

from efface.doctor.facts import Facts, Package
from efface.doctor.finding import PIP, Finding, Level, fits
from efface.doctor.probes import Attempt

WHEELS = "https://download.pytorch.org/whl"


def local_build(package: Package | None) -> str:
    """The build that a version names: ``cpu`` of ``2.9.0+cpu``; nothing for PyPI's."""
    return (package.installed or "").partition("+")[2] if package else ""


def of_packages(packages: Sequence[Package], *, local: str = "") -> Iterator[Finding]:
    """Each package: there or not, and in the declared range or not.

    Args:
        packages: what is declared.
        local: the build of torch that is installed, such as ``cpu``; torchvision must come from where it came from.
    """
    if all(package.name == "torchvision" for package in packages):
        yield Finding("problem", "efface", "it is not installed, so what it needs is not known", (f"{PIP} .",))
    for package in packages:
        wanted = f'"{package.name}{package.declared}"'
        if local and package.name in ("torch", "torchvision"):
            wanted += f" --index-url {WHEELS}/{local}"
        if package.installed is None and package.extra:
            text = f"not installed; only the extra {package.extra!r} of efface needs it"
            yield Finding("note", package.name, text, (f'{PIP} "efface[{package.extra}]"',))
        elif package.installed is None:
            yield Finding("problem", package.name, "not installed", (f"{PIP} {wanted}",))
        elif not fits(package.installed, package.declared):
            text = f"{package.installed} is installed, and efface needs {package.declared}"
            yield Finding("problem", package.name, text, (f"{PIP} --upgrade {wanted}",))
        else:
            yield Finding("ok", package.name, package.installed)


def pair_finding(torch: Package | None, torchvision: Package | None, attempt: Attempt | None) -> Finding | None:
    """Whether torch and torchvision belong together: by what torchvision asks for, and by their builds.

    A build such as ``2.9.0+cpu`` beside PyPI's torchvision is a problem where the import fails ("operator
    torchvision::nms does not exist"), and a note where it does not: on some systems PyPI's is made for that build.
    """
    if torch is None or torchvision is None or torch.installed is None or torchvision.installed is None:
        return None
    about = f"torch {torch.installed} with torchvision {torchvision.installed}"
    repairs = pair_repairs(torch.installed)
    if not fits(torch.installed, torchvision.wants):
        return Finding("problem", about, f"this torchvision was built for torch {torchvision.wants}", repairs)
    builds = local_build(torch), local_build(torchvision)
    if builds[0] == builds[1]:
        return None
    words = [f"pytorch.org's build {build!r}" if build else "PyPI's build" for build in builds]
    text = f"torch is {words[0]}, torchvision is {words[1]}"
    if attempt is None or not attempt.causes:
        return Finding("note", about, f"{text}: such a pair often fails, and this one can be imported")
    text += ": they do not work together, and neither open_clip nor transformers' CLIP works without torchvision"
    return Finding("problem", about, text, repairs)


def pair_repairs(torch: str) -> tuple[str, ...]:
    """Commands that bring the torchvision that fits a version of torch; which one that is, pip finds out."""
    plain, _, local = torch.partition("+")
    if not local:
        return (f'{PIP} --upgrade "torch=={torch}" torchvision',)
    return (
        f'{PIP} --upgrade "torch=={torch}" torchvision --index-url {WHEELS}/{local}',
        # For who reaches PyPI alone. Three signs: with two, the build that is installed would do.
        f'{PIP} --upgrade "torch==={plain}" torchvision',
    )


def of_attempts(facts: Facts, *, is_pair_named: bool) -> Iterator[Finding]:
    """What can be imported, and why not; a failure that came from another is named after it.

    Args:
        facts: what was tried, and what is installed.
        is_pair_named: whether torch and torchvision were found not to belong together.
    """
    by_cause: dict[str, str] = {}
    for attempt in facts.attempts:
        about = f"import {attempt.name}"
        first = next((by_cause[cause] for cause in attempt.causes if cause in by_cause), None)
        by_cause |= {cause: attempt.name for cause in attempt.causes if cause not in by_cause}
        if not attempt.causes:
            yield Finding("ok", about, f"{attempt.seconds:.1f} s{_remark(attempt)}")
        elif first is not None:
            yield Finding("problem", about, f"fails as {first} does: {attempt.causes[0]}")
        elif attempt.installed is not None:
            # Of what is not installed, the list of packages has said all that there is to say.
            is_said = is_pair_named and attempt.name == "torchvision"
            yield Finding("problem", about, attempt.causes[0], () if is_said else _repairs(attempt, facts))
        if lacking := attempt.found.get("lacking"):
            level: Level = "note" if lacking == ["webp"] else "problem"
            yield Finding(level, about, f"cannot read {', '.join(lacking)}", (f"{PIP} --force-reinstall pillow",))


def _remark(attempt: Attempt) -> str:
    return "; efface sets the QuickGELU that OpenAI's weights need" if attempt.name == "open_clip" else ""


def _repairs(attempt: Attempt, facts: Facts) -> tuple[str, ...]:
    exact = f'"{attempt.package}=={attempt.installed}"'
    torch = facts.package("torch")
    if attempt.name == "torchvision" and torch is not None and torch.installed is not None:
        return pair_repairs(torch.installed)
    if "No module named" in attempt.causes[-1]:
        return (f"{PIP} {exact}",)  # brings what it lacks
    return (f"{PIP} --force-reinstall --no-deps {exact}",)
