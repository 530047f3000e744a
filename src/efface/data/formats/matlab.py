"""Lists that data sets keep as MATLAB files."""

from pathlib import Path
from typing import Any

from efface.errors import InputError


def load_mat(file: Path) -> dict[str, Any]:
    """The variables of a MATLAB file, with axes of length one taken away.

    Raises:
        InputError: If scipy is not installed, or the file is no such file.
    """
    need_scipy(str(file))
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        found: dict[str, Any] = loadmat(file, squeeze_me=True)
    except (MatReadError, ValueError, OSError) as error:
        raise InputError(f"{str(file)!r} cannot be read: {error}", hint="unpack it again") from error
    return found


def need_scipy(what: str) -> None:
    """Refuses what scipy is needed for where it is not installed.

    Raises:
        InputError: If it is not.
    """
    try:
        import scipy.io  # noqa: F401 (whether it can be)
    except ImportError:
        raise InputError(f"{what} holds MATLAB files, which scipy reads", hint="pip install scipy") from None
