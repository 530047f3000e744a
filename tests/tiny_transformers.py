"""Small folders in transformers' format with random weights, made on the spot: the real format, no download."""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE, WordLevel
from tokenizers.normalizers import Lowercase, Replace
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
)

SPECIAL = ("<pad>", "<unk>", "<start>", "<end>")
WORDS = ("a", "photo", "of", "the", ".", ",", "one", "cat", "dog", "fox", "monarch", "tabby", "pizza", "red", "small")
CONTEXT = 12
SIGLIP_CONTEXT = 64
# Letters alone: no merges make longer pieces of them.
GEMMA = ("<pad>", "<eos>", "<bos>", "<unk>", "\u2581", *"abcdefghijklmnopqrstuvwxyz.,")
SIZE = 32
WIDTH = 32
DIM = 24
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def tokenizer(pad: str = "<pad>") -> PreTrainedTokenizerFast:
    """Lower-case words, punctuation by itself, a start and an end around each text."""
    ids = {word: index for index, word in enumerate((*SPECIAL, *WORDS))}
    words = Tokenizer(WordLevel(ids, unk_token="<unk>"))
    words.normalizer = Lowercase()
    words.pre_tokenizer = Whitespace()
    words.post_processor = TemplateProcessing(
        single="<start> $A <end>", special_tokens=[(name, ids[name]) for name in ("<start>", "<end>")]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<start>", eos_token="<end>", pad_token=pad, unk_token="<unk>"
    )


def write_transformers(folder: Path, *, dtype: torch.dtype = torch.float32, seed: int = 0) -> Path:
    """A folder that transformers loads by its path: a ViT of two blocks, words as tokens."""
    towers = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": WIDTH, "intermediate_size": 2 * WIDTH}
    text = {
        "vocab_size": len(SPECIAL) + len(WORDS),
        "max_position_embeddings": CONTEXT,
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 3,
    }
    config = CLIPConfig(
        text_config={**towers, **text},
        vision_config={**towers, "image_size": SIZE, "patch_size": 8},
        projection_dim=DIM,
    )
    _random(CLIPModel, config, seed).to(dtype).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    CLIPImageProcessor(
        size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE}, image_mean=MEAN, image_std=STD
    ).save_pretrained(folder)
    return folder


def write_siglip(folder: Path, *, version: int = 1, dtype: torch.dtype = torch.float32, seed: int = 0) -> Path:
    """A SigLIP, or a SigLIP 2 of fixed resolution: the same classes, another vocabulary and another way to pad."""
    towers = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": WIDTH, "intermediate_size": 2 * WIDTH}
    words = tokenizer(pad="<end>") if version == 1 else None
    size = len(SPECIAL) + len(WORDS) if words is not None else len(GEMMA)
    config = SiglipConfig(
        text_config={**towers, "vocab_size": size, "max_position_embeddings": SIGLIP_CONTEXT},
        vision_config={**towers, "image_size": SIZE, "patch_size": 8},
    )
    model = _random(SiglipModel, config, seed)
    with torch.no_grad():
        model.logit_scale.fill_(4.0)
        model.logit_bias.fill_(-10.0)
    model.to(dtype).save_pretrained(folder)
    if words is None:
        _write_gemma(folder)
    else:
        words.save_pretrained(folder)
    SiglipImageProcessor(
        size={"height": SIZE, "width": SIZE}, image_mean=[0.5] * 3, image_std=[0.5] * 3
    ).save_pretrained(folder)
    return folder


def _random(kind: Any, config: Any, seed: int) -> Any:
    """A model in which every weight matters: transformers starts biases at zero and norms at one."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = kind(config)
        for name, parameter in model.named_parameters():
            if not name.startswith("logit_"):
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model


def _write_gemma(folder: Path) -> None:
    """Pieces of words as in SigLIP 2: Gemma's tokenizer, which puts an end after each text, and padding after that."""
    ids = {piece: index for index, piece in enumerate(GEMMA)}
    pieces = Tokenizer(BPE(ids, [], unk_token="<unk>", fuse_unk=True))
    pieces.normalizer = Replace(" ", "\u2581")
    pieces.post_processor = TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", ids["<eos>"])])
    pieces.add_special_tokens(list(GEMMA[:4]))
    pieces.save(str(folder / "tokenizer.json"))
    document = {
        "tokenizer_class": "GemmaTokenizer",
        "add_bos_token": False,
        "add_eos_token": True,
        "padding_side": "right",
        "model_max_length": SIGLIP_CONTEXT,
        **{f"{name}_token": f"<{name}>" for name in ("pad", "eos", "bos", "unk")},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(document), encoding="utf-8")
