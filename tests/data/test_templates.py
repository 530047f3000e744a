import pytest

from efface.data.templates import IMAGENET, PUBLISHED, published
from efface.request import check_templates


@pytest.mark.parametrize("name", [*PUBLISHED, *IMAGENET])
def test_every_template_has_one_place_and_stands_once(name: str) -> None:
    found = published(name)
    assert found is not None
    check_templates(found)
    assert len(set(found)) == len(found)


def test_there_are_as_many_as_were_published() -> None:
    counts = {"cifar10": 18, "cifar100": 18, "stl10": 2, "food101": 1, "pets": 1, "flowers": 1, "cars": 8}
    counts |= {"caltech101": 34, "imagenet": 80, "imagenet-simple": 7}
    counts |= dict.fromkeys(("aircraft", "dtd", "eurosat", "sun397", "ucf101"), 1)
    assert {name: len(published(name) or ()) for name in (*PUBLISHED, *IMAGENET)} == counts


def test_imagenets_are_open_clips_own() -> None:
    from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES

    filled = [template.replace("{}", "tench") for template in published("imagenet") or ()]
    assert filled == [fill("tench") for fill in OPENAI_IMAGENET_TEMPLATES]


def test_another_name_has_none() -> None:
    assert published("dogs") is None
