import torch
from hypothesis import given
from hypothesis import strategies as st

from efface.evaluation.retrieval import DEPTH, nearer, none_yet, recalls


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**31))
def test_batch_by_batch_finds_what_all_at_once_finds(images: int, size: int, seed: int) -> None:
    # Few values, so that many are equally near.
    cosines = torch.randint(0, 4, (images, 3), generator=torch.Generator().manual_seed(seed)) / 4
    found = none_yet(3)
    for first in range(0, images, size):
        found = nearer(found, cosines[first : first + size], first)
    order = cosines.T.argsort(dim=1, descending=True, stable=True)[:, :DEPTH]
    assert torch.equal(found.rows, order)
    assert torch.equal(found.cosines, cosines.T.gather(1, order))


def test_recall_by_hand() -> None:
    # Class 0 finds its own image first, class 1 second, class 2 has none.
    labels = torch.tensor([0, 1, 0, 0, 1, 1])
    cosines = torch.zeros(6, 3)
    cosines[:, 0] = torch.tensor([0.9, 0.1, 0.2, 0.0, 0.0, 0.0])
    cosines[:, 1] = torch.tensor([0.0, 0.8, 0.0, 0.9, 0.0, 0.0])
    found = dict(recalls(nearer(none_yet(3), cosines, 0), labels))
    # Six images: at a depth of ten every one would be found.
    assert {metric: hits.tolist() for metric, hits in found.items()} == {
        "image_retrieval_recall@1": [True, False, False],
        "image_retrieval_recall@5": [True, True, False],
    }
