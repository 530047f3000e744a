"""The data of a recipe: what is learned from, and what tells how well."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from PIL import Image

from efface.backends.base import LoadedCLIP
from efface.data.captions import Asked, CaptionedImages, open_captioned
from efface.data.holdout import EvalData
from efface.data.images import Pixels, Preprocess
from efface.data.prompts import texts
from efface.data.sources import open_source
from efface.errors import InputError
from efface.evaluation.base import Score
from efface.evaluation.zero_shot import answer, scores
from efface.pretraining.recipe import Recipe
from efface.types import PixelSpace, Reporter, Silent


@dataclass(frozen=True, slots=True)
class Options:
    """How the work is done; none of this changes what comes out on the same device.

    Attributes:
        device: as torch names it. Where several processes were started on GPUs, each takes its own.
        workers: processes that decode images, for each process that trains.
        batch_size: images at a time in evaluation.
        reporter: told of every step.
    """

    device: str = "cpu"
    workers: int = 0
    batch_size: int = 256
    reporter: Reporter = field(default_factory=Silent)


@dataclass(slots=True)
class Later:
    """A preprocessing that is known once the model is: its vocabulary comes from the data that it will read."""

    inner: Preprocess | None = None

    def __call__(self, image: Image.Image) -> Pixels:
        """Model input for an upright RGB image."""
        if self.inner is None:
            raise RuntimeError("images were read before the model was loaded")
        return self.inner(image)


class Material:
    """Training and validation data.

    Attributes:
        preprocess: to be given what the model wants.
        train: images with captions.
        levels: the levels of captions that batches draw from.
        validation: labelled images.
    """

    def __init__(self, recipe: Recipe, options: Options) -> None:
        data, pixels = recipe.data, recipe.pixels
        self.preprocess = Later()
        space = PixelSpace(pixels.mean, pixels.std, pixels.size, pixels.size)
        asked = Asked(space, self.preprocess, data.templates, data.without, options.workers)
        self.train: CaptionedImages = open_captioned(data.train, asked)
        self.validation: list[EvalData] = [
            open_source(source, preprocess=self.preprocess, workers=options.workers) for source in data.validation
        ]
        self.levels = data.levels or tuple(range(len(self.train.levels)))
        highest, n = max(self.levels + data.first_levels), len(self.train.levels)
        if highest >= n:
            raise InputError(f"{data.train!r} has no level {highest} of captions", hint=f"they count from 0 to {n - 1}")
        self._templates, self._batch_size = data.templates, options.batch_size

    def vocabulary(self) -> Iterator[str]:
        """All texts that the model is trained on or judged by."""
        for captions in self.train.levels:
            yield from captions
        for data in self.validation:
            yield from (text for row in self._class_texts(data) for text in row)

    def judge(self, clip: LoadedCLIP, reporter: Reporter) -> tuple[Score, ...]:
        """Zero-shot accuracy on each validation source.

        Raises:
            NotFiniteError: If the model puts out NaN or infinite features.
        """
        found: list[Score] = []
        for data in self.validation:
            tokens = clip.class_tokens(self._class_texts(data))
            told = answer(
                (clip.encoder, None), data, tokens, targets=(), batch_size=self._batch_size, reporter=reporter
            )
            found += [score for score in scores(told, "before") if score.metric == "acc1"]
        return tuple(found)

    def _class_texts(self, data: EvalData) -> list[tuple[str, ...]]:
        return [texts(self._templates, name) for name in data.class_names]
