"""The devices that torch can compute on."""

import torch

from efface.errors import InputError


def usable_device(name: str) -> torch.device:
    """The device of this name, after trying it.

    Raises:
        InputError: If torch does not know it, it is not there, or it holds no values.
    """
    try:
        device = torch.device(name)
        # Not empty alone: the device meta has shapes and no values.
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"the device {name!r} cannot be used: {reason}", hint="use cpu, or cuda where there is one"
        ) from None
    return device
