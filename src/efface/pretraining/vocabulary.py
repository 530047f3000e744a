"""A tokenizer of whole words, made from the texts that it is for."""

from collections.abc import Iterable
from typing import Any

from efface.errors import InputError

PAD, UNKNOWN, BEGIN, END = "<pad>", "<unk>", "<bos>", "<eos>"


def word_tokenizer(texts: Iterable[str], *, context: int) -> Any:
    """A tokenizer whose vocabulary is the words of some texts, in lower case, punctuation by itself.

    The end of a text has the highest number of all tokens: open_clip reads its output at the highest, transformers at
    the end that the configuration names. The other words stand in alphabetical order, so the vocabulary does not depend
    on the order of the texts.

    Args:
        texts: at least one.
        context: the most tokens of a text, its begin and end included.

    Returns:
        A fast tokenizer of transformers, which open_clip loads too.

    Raises:
        InputError: If there is no word in the texts.
    """
    # Here, because transformers takes seconds to import.
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.normalizers import NFKC, Lowercase, Sequence
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    normalizer, splitter = Sequence([NFKC(), Lowercase()]), Whitespace()
    words = {word for text in set(texts) for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))}
    if not words:
        raise InputError("the captions hold no word", hint="give images with captions")
    order = (PAD, UNKNOWN, BEGIN, *sorted(words - {PAD, UNKNOWN, BEGIN, END}), END)
    numbers = {word: number for number, word in enumerate(order)}
    made = Tokenizer(WordLevel(numbers, unk_token=UNKNOWN))
    made.normalizer, made.pre_tokenizer = normalizer, splitter
    made.post_processor = TemplateProcessing(
        single=f"{BEGIN} $A {END}", special_tokens=[(name, numbers[name]) for name in (BEGIN, END)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token=PAD,
        unk_token=UNKNOWN,
        bos_token=BEGIN,
        eos_token=END,
        model_max_length=context,
    )


def folder_tokenizer(path: str) -> Any:
    """The tokenizer in a folder, with the tokens that a text tower needs.

    Raises:
        InputError: If transformers cannot load it, or it has no token for the end or for padding.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{path!r} holds no tokenizer that can be loaded: {reason}", hint="give a folder with tokenizer.json"
        ) from error
    if tokenizer.eos_token_id is None or tokenizer.pad_token_id is None:
        raise InputError(
            f"the tokenizer in {path!r} has no token for the end of a text or for padding",
            hint="add eos and pad tokens",
        )
    return tokenizer
