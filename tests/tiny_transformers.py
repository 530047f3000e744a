"""Small folders in transformers' format with random weights, made on the spot: the real format, no download."""

from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, PreTrainedTokenizerFast

SPECIAL = ("<pad>", "<unk>", "<start>", "<end>")
WORDS = ("a", "photo", "of", "the", ".", ",", "one", "cat", "dog", "fox", "monarch", "tabby", "pizza", "red", "small")
CONTEXT = 12
SIZE = 32
WIDTH = 32
DIM = 24
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def tokenizer() -> PreTrainedTokenizerFast:
    """Lower-case words, punctuation by itself, a start and an end around each text."""
    ids = {word: index for index, word in enumerate((*SPECIAL, *WORDS))}
    words = Tokenizer(WordLevel(ids, unk_token="<unk>"))
    words.normalizer = Lowercase()
    words.pre_tokenizer = Whitespace()
    words.post_processor = TemplateProcessing(
        single="<start> $A <end>", special_tokens=[(name, ids[name]) for name in ("<start>", "<end>")]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<start>", eos_token="<end>", pad_token="<pad>", unk_token="<unk>"
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
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = CLIPModel(config)
        # transformers starts biases at zero and norms at one: every weight must matter.
        for name, parameter in model.named_parameters():
            if name != "logit_scale":
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
    # config.json names the dtype that plain from_pretrained goes by.
    model.to(dtype).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    CLIPImageProcessor(
        size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE}, image_mean=MEAN, image_std=STD
    ).save_pretrained(folder)
    return folder
