import pytest

from efface.doctor.facts import Facts
from efface.doctor.finding import Finding
from efface.doctor.installed import local_build, of_attempts, of_packages, pair_finding, pair_repairs
from tests.doctor.by_hand import MACHINE, NMS, attempt, package

CPU_INDEX = "--index-url https://download.pytorch.org/whl/cpu"


def test_a_package_in_range_is_ok() -> None:
    assert list(of_packages([package("numpy", "2.1", ">=1.26")])) == [Finding("ok", "numpy", "2.1")]


def test_a_missing_package_names_the_command_that_installs_it() -> None:
    (found,) = of_packages([package("jinja2", None, ">=3.1")])
    assert found == Finding("problem", "jinja2", "not installed", ('python -m pip install "jinja2>=3.1"',))


def test_an_old_package_names_both_versions_and_is_upgraded() -> None:
    (found,) = of_packages([package("transformers", "4.1", ">=5.0")])
    assert (found.level, found.text) == ("problem", "4.1 is installed, and efface needs >=5.0")
    assert found.repairs == ('python -m pip install --upgrade "transformers>=5.0"',)


def test_what_an_extra_asks_for_need_not_be_there() -> None:
    (found,) = of_packages([package("transformers", None, ">=5.0", extra="hf")])
    assert (found.level, found.repairs) == ("note", ('python -m pip install "efface[hf]"',))
    (old,) = of_packages([package("transformers", "4.1", ">=5.0", extra="hf")])
    assert old.level == "problem"


def test_torchvision_is_installed_from_where_torch_came_from() -> None:
    _, found = of_packages([package("torch"), package("torchvision", None, ">=0.21")], local="cpu")
    assert found.repairs == (f'python -m pip install "torchvision>=0.21" {CPU_INDEX}',)


def test_an_efface_that_is_not_installed_is_said() -> None:
    first, *_ = of_packages([package("torchvision")])
    assert (first.level, first.about) == ("problem", "efface")


def test_a_cpu_build_beside_pypis_torchvision_is_named_and_repaired() -> None:
    torch, torchvision = package("torch", "2.9.0+cpu"), package("torchvision", "0.24.0", wants="==2.9.0")
    found = pair_finding(torch, torchvision, attempt("torchvision", NMS))
    assert found is not None
    assert found.level == "problem"
    assert found.about == "torch 2.9.0+cpu with torchvision 0.24.0"
    assert found.repairs == (
        f'python -m pip install --upgrade "torch==2.9.0+cpu" torchvision {CPU_INDEX}',
        'python -m pip install --upgrade "torch===2.9.0" torchvision',
    )
    # What can be imported is no problem, whatever its name.
    works = pair_finding(torch, torchvision, attempt("torchvision"))
    assert works is not None
    assert (works.level, works.repairs) == ("note", ())


def test_a_torchvision_of_another_version_is_named_though_it_can_be_imported() -> None:
    found = pair_finding(
        package("torch", "2.10.0"), package("torchvision", "0.24.0", wants="==2.9.0"), attempt("torchvision")
    )
    assert found is not None
    assert (found.level, found.text) == ("problem", "this torchvision was built for torch ==2.9.0")
    assert found.repairs == ('python -m pip install --upgrade "torch==2.10.0" torchvision',)


@pytest.mark.parametrize(
    ("torch", "torchvision"), [("2.9.0", "0.24.0"), ("2.9.0+cpu", "0.24.0+cpu"), (None, "0.24.0"), ("2.9.0", None)]
)
def test_a_pair_that_belongs_together_or_is_no_pair_is_not_named(torch: str | None, torchvision: str | None) -> None:
    pair = package("torch", torch), package("torchvision", torchvision, wants="==2.9.0")
    assert pair_finding(*pair, attempt("torchvision")) is None
    assert pair_finding(None, None, None) is None


def test_builds_are_read_off_versions() -> None:
    assert local_build(package("torch", "2.9.0+cu126")) == "cu126"
    assert local_build(package("torch", "2.9.0")) == ""
    assert local_build(package("torch", None)) == local_build(None) == ""
    assert pair_repairs("2.9.0+cu126")[0].endswith("/whl/cu126")


def test_a_failure_is_named_after_the_first_that_had_it() -> None:
    wrapped = attempt("transformers", "ModuleNotFoundError: Could not import module 'CLIPModel'", NMS)
    facts = Facts(MACHINE, attempts=(attempt("torch"), attempt("torchvision", NMS), wrapped))
    torch, torchvision, transformers = of_attempts(facts, is_pair_named=True)
    assert torch.level == "ok"
    assert torchvision == Finding("problem", "import torchvision", NMS)
    assert transformers.text.startswith("fails as torchvision does: ModuleNotFoundError")
    assert transformers.repairs == ()


def test_a_torchvision_that_fails_alone_is_made_to_fit_torch() -> None:
    facts = Facts(MACHINE, packages=(package("torch", "2.9.0"),), attempts=(attempt("torchvision", NMS),))
    (found,) = of_attempts(facts, is_pair_named=False)
    assert found.repairs == ('python -m pip install --upgrade "torch==2.9.0" torchvision',)


def test_a_broken_package_is_put_there_anew_and_one_that_lacks_another_brings_it() -> None:
    crash = attempt("datasets", "the process crashed with SIGSEGV", installed="4.0")
    lacks = attempt("matplotlib", "ModuleNotFoundError: No module named 'cycler'", installed="3.9")
    found = list(of_attempts(Facts(MACHINE, attempts=(crash, lacks)), is_pair_named=False))
    assert [f.repairs for f in found] == [
        ('python -m pip install --force-reinstall --no-deps "datasets==4.0"',),
        ('python -m pip install "matplotlib==3.9"',),
    ]


def test_of_what_is_not_installed_nothing_more_is_said() -> None:
    absent = attempt("transformers", "ModuleNotFoundError: No module named 'transformers'", installed=None)
    assert list(of_attempts(Facts(MACHINE, attempts=(absent,)), is_pair_named=False)) == []


@pytest.mark.parametrize(("lacking", "level"), [(["jpg"], "problem"), (["webp"], "note")])
def test_a_pillow_that_cannot_read_images_is_named(lacking: list[str], level: str) -> None:
    facts = Facts(MACHINE, attempts=(attempt("pillow", lacking=lacking),))
    assert [f.level for f in of_attempts(facts, is_pair_named=False)] == ["ok", level]
