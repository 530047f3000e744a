import torch

from efface.functional.neighbors import precision_at, reciprocal_rank, vote


def at(cosine: float) -> list[float]:
    """A vector with that cosine to the first axis."""
    return [3 * cosine, 3 * (1 - cosine**2) ** 0.5]


def test_two_neighbors_outvote_a_nearer_one_only_where_they_are_almost_as_near() -> None:
    labels, asked = torch.tensor([1, 0, 0]), torch.tensor([[2.0, 0.0]])
    # exp(0.95 / 0.07) is 784 thousand; twice exp(0.90 / 0.07) 767, twice exp(0.91 / 0.07) 885 thousand.
    for cosine, expected in ((0.90, 1), (0.91, 0)):
        known = torch.tensor([at(0.95), at(cosine), at(cosine)])
        assert vote(known, labels, asked, 3).tolist() == [expected]
        assert vote(known, labels, asked, 99).tolist() == [expected]
        assert vote(known, labels, asked, 1).tolist() == [1]


def test_the_first_wanted_item_counts_by_its_place() -> None:
    cosines = torch.tensor([[0.1, 0.5, 0.9, 0.3], [0.9, 0.5, 0.1, 0.3]])
    wanted = torch.tensor([False, True, False, True])
    assert reciprocal_rank(cosines, wanted).tolist() == [0.5, 0.5]
    assert torch.allclose(reciprocal_rank(cosines, torch.tensor([True, False, False, False])), torch.tensor([1 / 4, 1]))
    assert reciprocal_rank(torch.ones(1, 4), wanted).tolist() == [0.5]


def test_precision_is_the_share_of_wanted_ones_among_the_first() -> None:
    cosines = torch.tensor([[0.1, 0.5, 0.9, 0.3], [0.9, float("-inf"), 0.1, 0.3]])
    wanted = torch.tensor([[False, True, False, True], [True, True, False, True]])
    assert precision_at(cosines, wanted, 2).tolist() == [0.5, 1.0]
    assert precision_at(cosines, wanted[:1], 1).tolist() == [0.0, 0.0]
