"""Which words of a request have the tokens that a method changed: the trace knows their numbers alone."""

from collections.abc import Callable, Collection, Sequence

from efface.types import Tokens, Trace


def words_with(tokenize: Callable[[Sequence[str]], Tokens], texts: Sequence[str], ids: Collection[int]) -> list[str]:
    """The words of some texts that have one of the tokens, each once, as they are written there.

    A tokenizer of CLIP's reads a word of a text as it does alone, so that each can be asked by itself. What all words
    have, as the marks of a text's beginning and end, tells none from another and counts for none.

    Args:
        tokenize: the model's.
        texts: where the words are looked for, in order.
        ids: the tokens.
    """
    words = list(dict.fromkeys(word for text in texts for word in text.split()))
    if not words:
        return []
    marks, *rows = (set(row.tolist()) for row in tokenize(["", *words]))
    return [word for word, row in zip(words, rows, strict=True) if (row - marks) & set(ids)]


def unnamed_words(tokenize: Callable[[Sequence[str]], Tokens], texts: Sequence[str], trace: Trace) -> str:
    """Which words say nothing any more in any text, to be read after the reason of a trace; empty where none do.

    Args:
        tokenize: the model's.
        texts: the names and phrases that were to go.
        trace: of a method whose steps may have ``words``, and ``kept``: the last of these says which stayed changed.
    """
    of_words = [step for step in trace.steps if "words" in step]
    if not of_words or not of_words[-1].get("kept"):
        return ""
    ids = [int(word) for word in of_words[-1]["words"]]  # type: ignore[union-attr]
    words = words_with(tokenize, texts, ids)
    named = f" of {', '.join(map(repr, words))}" if words else ""
    one, many = f"token {ids[0]}{named} says", f"tokens {', '.join(map(str, ids))}{named} say"
    return f"; {one if len(ids) == 1 else many} nothing in any text now"
