from pathlib import Path

import pytest

from efface.backends.base import LoadedCLIP
from efface.errors import InputError
from efface.opening import Options, Source, open_all
from tests.worlds import World


def test_a_source_that_stands_twice_is_refused(clip: LoadedCLIP, world: World) -> None:
    opened = open_all(clip, [world.data], Options())
    twice: list[list[Source]] = [
        [world.data, world.data],
        [Path(world.data), world.data],
        [*opened, world.data],
    ]
    for data in twice:
        with pytest.raises(InputError, match=r"pictures' are given twice"):
            open_all(clip, data, Options())


def test_what_to_do_at_a_bad_image_is_one_of_two() -> None:
    with pytest.raises(InputError, match="'skp' says not what to do") as caught:
        Options(on_bad_image="skp")
    assert caught.value.hint == "did you mean skip?"
