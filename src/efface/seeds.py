"""Random numbers that do not depend on how many others were drawn."""

import torch


def draw_seed(rng: torch.Generator) -> int:
    """A seed for random numbers that are drawn again when a run goes on, wherever it stands."""
    return int(torch.randint(2**62, (), generator=rng, device=rng.device))


def seeded(seed: int, device: torch.device | str) -> torch.Generator:
    """A generator that begins with a seed."""
    return torch.Generator(device=device).manual_seed(seed)
