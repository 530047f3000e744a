import string
from pathlib import Path

import pytest
from open_clip.tokenizer import canonicalize_text
from transformers import AutoTokenizer

import efface
from efface.export.to_transformers import write_transformers
from tests.tiny_open_clip import SIGLIP, VIT, write_open_clip


@pytest.mark.parametrize("text", ["A Photo, of a_cat!", f"one {string.punctuation} fox", "  two\n spaces  ", "", "..."])
def test_a_tokenizer_cleans_texts_as_open_clip_does_for_siglip(tmp_path: Path, text: str) -> None:
    clip = efface.load(write_open_clip(tmp_path / "base", SIGLIP))
    (tmp_path / "out").mkdir()
    write_transformers(clip, tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    ours = tokenizer(text, padding="max_length", max_length=16, truncation=True)["input_ids"]
    assert ours == clip.tokenize([text])[0].tolist() == clip.tokenize([canonicalize_text(text)])[0].tolist()


def test_openais_vocabulary_is_written_in_files_that_transformers_reads(tmp_path: Path) -> None:
    clip = efface.load(write_open_clip(tmp_path / "base", VIT))
    (tmp_path / "out").mkdir()
    write_transformers(clip, tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    for text in ("A Golden Retriever, it's 3 o'clock.", "naïve café", "two  spaces"):
        found = tokenizer(text)["input_ids"]
        assert found == clip.tokenize([text])[0, : len(found)].tolist()
    assert tokenizer.model_max_length == 16
