"""Every kind of model goes through the whole job, on folders with random weights in the real formats."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file

import efface
from efface.cli import run
from efface.errors import InputError
from efface.pipeline import Run
from efface.synthesis.base import Synthetic
from efface.types import ClassTokens, DualEncoder, Reporter, Trace
from efface.verifying.check import check
from efface.verifying.verify import Rerun, verify
from tests.backends.test_openai_archive import write_archive
from tests.hub_cache import lay_out
from tests.tiny_open_clip import RESNET, SIGLIP, VIT, WORDED, write_open_clip
from tests.tiny_transformers import write_siglip, write_transformers
from tests.upstream import PICTURE, TEXTS, UPSTREAM
from tests.worlds import NAMES, World

HALF = torch.float16
MODELS: dict[str, Callable[[Path], Path]] = {
    "transformers CLIP": lambda folder: write_transformers(folder, dtype=HALF),
    "transformers SigLIP": lambda folder: write_siglip(folder, dtype=HALF),
    "transformers SigLIP 2": lambda folder: write_siglip(folder, version=2, dtype=HALF),
    "open_clip ResNet": lambda folder: write_open_clip(folder, RESNET, dtype=HALF),
    "open_clip ViT": lambda folder: write_open_clip(folder, {**WORDED, "quick_gelu": False}, dtype=HALF),
    "open_clip SigLIP": lambda folder: write_open_clip(folder, SIGLIP, dtype=HALF),
    "open_clip ViT, quickgelu": lambda folder: write_open_clip(folder, VIT, dtype=HALF),
}
VARIANTS = ("transformers SigLIP 2", "open_clip SigLIP", "open_clip ViT, quickgelu")
"""Much like others, and run with the slow tests."""
# One short round of the default method, kept whatever it does.
METHOD = efface.Ga(images=2, max_rounds=1, learning_rate=0.01)


@dataclass(frozen=True)
class Noise:
    """Images of nothing, at once: random models accept none that are made of them."""

    seed: int = 0

    def __call__(
        self,
        model: DualEncoder,
        class_tokens: ClassTokens,
        target: int,
        count: int,
        *,
        rng: torch.Generator,
        reporter: Reporter,
    ) -> Synthetic:
        images = torch.randn((count, 3, model.pixels.height, model.pixels.width), generator=rng)
        return Synthetic(images, Trace((), reached=True, reason="noise"))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """What lies in the one file of weights that a folder has."""
    (path,) = folder.glob("*.safetensors")
    return load_file(path)


@torch.no_grad()
def ours(folder: Path) -> torch.Tensor:
    """Logits of the same picture and texts as upstream's, with the bias that a SigLIP adds."""
    clip = efface.load(folder)
    image = clip.encoder.encode_image(clip.preprocess(PICTURE)[None])
    logits = clip.encoder.logit_scale * image @ clip.encoder.encode_text(clip.tokenize(TEXTS)).T
    return logits + clip.stored_state().get("logit_bias", torch.zeros(())).float()


def forgotten(source: str | Path, world: World) -> Run:
    """The run in which a model forgets the cat."""
    return efface.forget(efface.load(source), "cat", among=NAMES, method=METHOD, synthesizer=Noise(), data=[world.data])


def assert_can_be_checked(made: Path, library: str) -> None:
    """All of a run holds, its result knows no more than itself, and its card has the license of the base."""
    assert verify(made, rerun=Rerun()).failed == ()
    assert_not_back(made)
    front = f'library_name: "{library}"\nlicense: "mit"\n'
    assert front in (made / "README.md").read_text(encoding="utf-8")


def assert_not_back(made: Path) -> None:
    """The result is no descendant that knows more than itself; of four images it may know too many to tell."""
    try:
        back = check(str(made / "model"), made, margin=0.0, notice=1.0).back
    except InputError as error:
        if "of the 4 images right: no rise" not in str(error):
            raise
        back = False
    assert not back


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.slow] if kind in VARIANTS else []) for kind in MODELS]
)
def test_a_model_is_forgotten_from_measured_exported_and_loads_upstream(
    tmp_path: Path, world: World, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    base, library = MODELS[kind](tmp_path / "base"), kind.split()[0]
    (base / "README.md").write_text("---\nlicense: mit\n---\n", encoding="utf-8")
    capsys.readouterr()
    made = forgotten(base, world)
    model = made.save(tmp_path / "run") / "model"
    record = json.loads(made.record.to_json())
    assert_can_be_checked(tmp_path / "run", library)

    # Untouched tensors are those of the base, bit for bit, and the others are those that the record names.
    before, after = weights(base), weights(model)
    assert {name: t.dtype for name, t in before.items()} == {name: t.dtype for name, t in after.items()}
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == set(record["weights"]["changed"])
    assert 0 < len(moved) < len(before)

    # Measured again, the model that was written gives the numbers of the run.
    data = ["--class", "cat", "--eval", world.data, "--workers", "0", "--json"]
    assert run(["evaluate", str(model), "--against", str(base), *data]) == 0
    measured = json.loads(capsys.readouterr().out)
    assert measured["scores"] == record["scores"]
    assert measured["weights"] == record["weights"]

    # Its own library loads it and gives the same logits, and so does the other one with what was exported.
    torch.testing.assert_close(UPSTREAM[library](model), ours(model), atol=1e-4, rtol=0)
    assert (UPSTREAM[library](base) - ours(model)).abs().max() > 1e-3
    other = "open_clip" if library == "transformers" else "transformers"
    export = ["export", str(model), "--to", other, "--out", str(tmp_path / "other"), "--json"]
    if kind == "open_clip ResNet":
        assert run(export) == 2
        assert "ResNets exist only in open_clip" in capsys.readouterr().err
        return
    assert run(export) == 0
    assert '\nlicense: "mit"\n' in (tmp_path / "other" / "README.md").read_text(encoding="utf-8")
    exported = json.loads(capsys.readouterr().out)
    assert exported["largest_logit_difference"] < 1e-4
    difference = (UPSTREAM[other](tmp_path / "other") - UPSTREAM[library](model)).abs().max()
    assert difference < 0.05, "the two libraries resize in other steps"


@pytest.mark.slow
def test_a_run_on_a_model_from_the_hub_can_be_checked_and_so_can_one_on_its_result(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = write_open_clip(tmp_path / "files", VIT, dtype=HALF)
    (base / "README.md").write_text("---\nlicense: mit\n---\n", encoding="utf-8")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    lay_out(tmp_path / "hub", "org/tiny", base)
    sources = ["hf-hub:org/tiny", str(tmp_path / "run-0" / "model")]
    for number, source in enumerate(sources):
        assert_can_be_checked(forgotten(source, world).save(tmp_path / f"run-{number}"), "open_clip")
    front = (tmp_path / "run-0" / "README.md").read_text(encoding="utf-8")
    assert 'base_model: "org/tiny"\n' in front


def test_a_run_on_an_archive_of_openai_can_be_checked(tmp_path: Path, world: World) -> None:
    write_archive(tmp_path / "tiny.pt", "vit")
    folder = forgotten(tmp_path / "tiny.pt", world).save(tmp_path / "run")
    assert verify(folder, rerun=Rerun()).failed == ()
    assert_not_back(folder)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card.startswith('---\nlibrary_name: "open_clip"\npipeline_tag')
    assert "said nothing of its license" in card


def test_projection_refuses_what_has_no_last_linear_map(
    tmp_path: Path, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in ("transformers SigLIP", "open_clip SigLIP"):
        base = str(MODELS[kind](tmp_path / kind))
        capsys.readouterr()
        more = ["--classnames", world.names, "--method", "projection", "--out", str(tmp_path / "run")]
        assert run(["forget", "--model", base, "--class", "cat", *more]) == 2
        first, second = capsys.readouterr().err.splitlines()[-2:]
        assert first.startswith("error: the image tower ")
        assert "does not end in a linear map that a projection can go into" in first
        assert second.startswith("hint: use --method lip")
        assert not (tmp_path / "run").exists()
