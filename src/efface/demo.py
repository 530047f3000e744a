"""The whole job on a model that comes with efface: forget, measure, and compare with a model that never knew.

The model is ``builtin:symbols-TOWER``, the images are streams of the embedded world that it was not trained on. For one
class there is a *gold* model too: the same recipe, trained without the class. It is what forgetting aims at.
"""

from dataclasses import dataclass, field

from efface import measuring, pipeline
from efface.backends import load
from efface.backends.builtin import names
from efface.errors import check_known
from efface.measuring import Options
from efface.methods import method_names
from efface.methods.base import ForgetMethod
from efface.methods.projection import Projection
from efface.model_names import BUILTIN
from efface.pipeline import Run
from efface.report.record import Measurement
from efface.symbols.catalogue import MEMBERS, TOWERS

CLASS = "knight"
"""The class that a gold model was trained without."""
DATA = ("symbols:test", "symbols:unseen")
"""Held-out images of combinations that pre-training showed, and of those that it never did."""
SETTINGS: dict[str, ForgetMethod] = {"projection": Projection(ridge=0.3, strength=1.5)}
"""Instead of a method's own defaults, which were chosen on larger models: chosen on ``symbols:calibration``."""


@dataclass(frozen=True, slots=True)
class Demo:
    """What the demonstration found.

    Attributes:
        run: the result, with what was measured before and after.
        gold: the same measured on the model that was trained without the class; None where there is none.
    """

    run: Run = field(repr=False)
    gold: Measurement | None = field(repr=False)


def demonstrate(
    tower: str = TOWERS[0],
    name: str = CLASS,
    *,
    method: str = "projection",
    device: str = "cpu",
    seed: int = 0,
    options: Options | None = None,
) -> Demo:
    """Forgets a class of the embedded world by its name and measures it on held-out images.

    Args:
        tower: ``vit``, a transformer in transformers' format, or ``rn``, a ResNet in open_clip's.
        name: a member of the world.
        method: as ``efface methods`` lists them.
        device: as torch names it.
        seed: of all random numbers of the method.
        options: how to run.

    Raises:
        InputError: If there is no such tower, member or method.
    """
    check_known(tower, TOWERS, "tower")
    check_known(name, MEMBERS, "member of the world")
    check_known(method, method_names(), "method")
    options = options or Options()
    clip = load(f"{BUILTIN}symbols-{tower}", device=device)
    chosen = SETTINGS.get(method, method)
    run = pipeline.forget(clip, name, among=MEMBERS, method=chosen, data=DATA, seed=seed, options=options)
    gold = gold_of(tower, name)
    if gold is None:
        return Demo(run, None)
    return Demo(run, measuring.evaluate(load(gold, device=device), data=DATA, name=name, options=options))


def gold_of(tower: str, name: str) -> str | None:
    """The model that was trained without a class; None where none comes with efface."""
    gold = f"symbols-{tower}-without-{name}"
    return BUILTIN + gold if gold in names() else None
