import torch

from efface.seeds import draw_seed, seeded

CPU = torch.device("cpu")


def test_a_seed_takes_one_number_and_what_follows_from_it_none_of_the_other() -> None:
    rng, same = seeded(3, CPU), seeded(3, CPU)
    seed = draw_seed(rng)
    assert seed == draw_seed(same)
    torch.randn(100, generator=seeded(seed, CPU))
    assert torch.equal(rng.get_state(), same.get_state())
    assert 0 <= seed < 2**62
    assert draw_seed(rng) != seed
