"""The tensors of one CLIP or SigLIP in the layouts of transformers and of open_clip, and the way between them.

Only names, order and shape differ: no number is computed, so that tensors go there and back bit for bit.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from efface.errors import InputError
from efface.export.place import Format

Change = Literal["none", "transposed", "axis in open_clip", "axis in transformers"]
Names = tuple[tuple[str, int], ...]
"""Tensors that lie one after the other along their first axis, and the share of the whole that each has."""


_LAYERS = ("vision_model.encoder.layers", "text_model.encoder.layers")
NO_EXPORT = "CLIPs with a ViT and SigLIPs have both formats; leave this model in the one that it has"


@dataclass(frozen=True, slots=True)
class Rule:
    """Tensors of one layout that together hold the same numbers as tensors of the other.

    Attributes:
        transformers: their names there.
        open_clip: their names there.
        change: whether one layout has them transposed, or with a first axis of one more.
    """

    transformers: Names
    open_clip: Names
    change: Change = "none"


def converted(state: Mapping[str, Tensor], rules: Iterable[Rule], to: Format) -> dict[str, Tensor]:
    """A state in the other layout, in the same dtypes.

    Raises:
        InputError: If a tensor is missing, or has no place in the other layout.
    """
    left, made = dict(state), dict[str, Tensor]()
    for rule in rules:
        source, target = rule.transformers, rule.open_clip
        if to == "transformers":
            source, target = target, source
        missing = next((name for name, _ in source if name not in left), None)
        if missing is not None:
            raise InputError(f"the model has no tensor {missing!r}, which {to} needs", hint=NO_EXPORT)
        parts = [left.pop(name) for name, _ in source]
        whole = torch.cat(parts) if len(parts) > 1 else parts[0]
        made |= _shared(_changed(whole, rule.change, to), target)
    if left:
        raise InputError(f"the model's tensor {next(iter(left))!r} has no place in the format of {to}", hint=NO_EXPORT)
    return made


def clip_rules(state: Mapping[str, Tensor], source: Format) -> list[Rule]:
    """The rules for a CLIP with a ViT, of as many blocks as the state has in its layout."""
    # Of open_clip's two classes of models one keeps the text tower in a part of its own.
    inside = "text." if any(name.startswith("text.") for name in state) else ""
    image, text = "visual.transformer.resblocks", f"{inside}transformer.resblocks"
    if source == "transformers":
        image, text = _LAYERS
    vision = "vision_model.embeddings"
    return [
        _one("logit_scale", "logit_scale"),
        _one(f"{vision}.class_embedding", "visual.class_embedding"),
        _one(f"{vision}.patch_embedding.weight", "visual.conv1.weight"),
        _one(f"{vision}.position_embedding.weight", "visual.positional_embedding"),
        *_both("vision_model.pre_layrnorm", "visual.ln_pre"),
        *_both("vision_model.post_layernorm", "visual.ln_post"),
        _one("visual_projection.weight", "visual.proj", "transposed"),
        *_blocks("vision_model", "visual.", _count(state, image)),
        *_text_rules(inside, _count(state, text)),
        _one("text_projection.weight", f"{inside}text_projection", "transposed"),
    ]


def siglip_rules(state: Mapping[str, Tensor], source: Format) -> list[Rule]:
    """The rules for a SigLIP, of as many blocks as the state has in its layout."""
    image, text = "visual.trunk.blocks", "text.transformer.resblocks"
    if source == "transformers":
        image, text = _LAYERS
    vision, trunk, head, pool = "vision_model", "visual.trunk", "vision_model.head", "visual.trunk.attn_pool"
    inside = [
        rule
        for n in range(_count(state, image))
        for rule in _timm_block(f"{vision}.encoder.layers.{n}", f"{trunk}.blocks.{n}")
    ]
    return [
        _one("logit_scale", "logit_scale", "axis in transformers"),
        _one("logit_bias", "logit_bias", "axis in transformers"),
        *_both(f"{vision}.embeddings.patch_embedding", f"{trunk}.patch_embed.proj"),
        _one(f"{vision}.embeddings.position_embedding.weight", f"{trunk}.pos_embed", "axis in open_clip"),
        *inside,
        *_both(f"{vision}.post_layernorm", f"{trunk}.norm"),
        _one(f"{head}.probe", f"{pool}.latent"),
        # Query, key and value: one tensor there, here the last two.
        *(
            Rule(((f"{head}.attention.in_proj_{kind}", 1),), ((f"{pool}.q.{kind}", 1), (f"{pool}.kv.{kind}", 2)))
            for kind in ("weight", "bias")
        ),
        *_both(f"{head}.attention.out_proj", f"{pool}.proj"),
        *_both(f"{head}.layernorm", f"{pool}.norm"),
        *_both(f"{head}.mlp.fc1", f"{pool}.mlp.fc1"),
        *_both(f"{head}.mlp.fc2", f"{pool}.mlp.fc2"),
        *_text_rules("text.", _count(state, text)),
        *_both("text_model.head", "text.text_projection"),
    ]


def _text_rules(inside: str, layers: int) -> list[Rule]:
    words = "text_model.embeddings"
    return [
        _one(f"{words}.token_embedding.weight", f"{inside}token_embedding.weight"),
        _one(f"{words}.position_embedding.weight", f"{inside}positional_embedding"),
        *_both("text_model.final_layer_norm", f"{inside}ln_final"),
        *_blocks("text_model", inside, layers),
    ]


def _blocks(theirs: str, ours: str, layers: int) -> Iterator[Rule]:
    for n in range(layers):
        a, b = f"{theirs}.encoder.layers.{n}", f"{ours}transformer.resblocks.{n}"
        for there, here in (("layer_norm1", "ln_1"), ("layer_norm2", "ln_2"), ("self_attn.out_proj", "attn.out_proj")):
            yield from _both(f"{a}.{there}", f"{b}.{here}")
        yield from _both(f"{a}.mlp.fc1", f"{b}.mlp.c_fc")
        yield from _both(f"{a}.mlp.fc2", f"{b}.mlp.c_proj")
        yield from (_qkv(a, f"{b}.attn.in_proj_{kind}", kind) for kind in ("weight", "bias"))


def _timm_block(a: str, b: str) -> Iterator[Rule]:
    for there, here in (("layer_norm1", "norm1"), ("layer_norm2", "norm2"), ("self_attn.out_proj", "attn.proj")):
        yield from _both(f"{a}.{there}", f"{b}.{here}")
    yield from _both(f"{a}.mlp.fc1", f"{b}.mlp.fc1")
    yield from _both(f"{a}.mlp.fc2", f"{b}.mlp.fc2")
    yield from (_qkv(a, f"{b}.attn.qkv.{kind}", kind) for kind in ("weight", "bias"))


def _qkv(block: str, fused: str, kind: str) -> Rule:
    return Rule(tuple((f"{block}.self_attn.{letter}_proj.{kind}", 1) for letter in "qkv"), ((fused, 1),))


def _one(transformers: str, open_clip: str, change: Change = "none") -> Rule:
    return Rule(((transformers, 1),), ((open_clip, 1),), change)


def _both(transformers: str, open_clip: str) -> tuple[Rule, Rule]:
    return _one(f"{transformers}.weight", f"{open_clip}.weight"), _one(f"{transformers}.bias", f"{open_clip}.bias")


def _count(state: Mapping[str, Tensor], start: str) -> int:
    """How many blocks there are."""
    return len({name.removeprefix(f"{start}.").split(".")[0] for name in state if name.startswith(f"{start}.")})


def _changed(whole: Tensor, change: Change, to: Format) -> Tensor:
    if change == "none":
        return whole
    if change == "transposed":
        return whole.T
    return whole[None] if change == f"axis in {to}" else whole.reshape(whole.shape[1:])


def _shared(whole: Tensor, target: Names) -> dict[str, Tensor]:
    if len(target) == 1:
        return {target[0][0]: whole.contiguous()}
    unit = len(whole) // sum(share for _, share in target)
    parts = torch.split(whole, [share * unit for _, share in target])
    return {name: part.contiguous() for (name, _), part in zip(target, parts, strict=True)}
