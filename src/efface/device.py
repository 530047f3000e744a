"""The devices that torch can compute on."""

import warnings

import torch

from efface.errors import InputError


def usable_device(name: str) -> torch.device:
    """The device of this name, after trying it.

    Raises:
        InputError: If torch does not know it, it is not there, or it holds no values.
    """
    try:
        # A kind of device that is on its way out of torch is warned of in many lines; it is refused in one.
        with warnings.catch_warnings(action="ignore"):
            device = torch.device(name)
            # Not empty alone: the device meta has shapes and no values.
            torch.zeros(1, device=device).item()
    # The last where the kind is known and the module for it is not installed.
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"the device {name!r} cannot be used: {reason}", hint="use cpu, or cuda where there is one"
        ) from None
    if device.type == "cpu" and device.index:
        raise InputError(
            f"the device {name!r} cannot be used: torch takes all processors for one device",
            hint="use cpu; torch.set_num_threads, or OMP_NUM_THREADS in the environment, says on how many threads",
        )
    return device
