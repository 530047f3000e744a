from efface import pretraining


def test_the_names_that_are_promised_are_there() -> None:
    assert all(hasattr(pretraining, name) for name in pretraining.__all__)
    assert pretraining.__all__ == sorted(pretraining.__all__)
