# Read by lazy_loader at run time, which wants relative imports, and by type checkers.
from .backends import load
from .backends.base import LoadedCLIP
from .errors import EffaceError, InputError, NotFiniteError
from .evaluation.base import Change, ClassScore, Score
from .methods import METHODS
from .methods.base import ForgetMethod
from .pipeline import Run, evaluate, forget
from .report.record import Record
from .request import ClassTarget, ForgetRequest
from .types import DualEncoder, LabelledImages

__all__ = [
    "METHODS",
    "Change",
    "ClassScore",
    "ClassTarget",
    "DualEncoder",
    "EffaceError",
    "ForgetMethod",
    "ForgetRequest",
    "InputError",
    "LabelledImages",
    "LoadedCLIP",
    "NotFiniteError",
    "Record",
    "Run",
    "Score",
    "evaluate",
    "forget",
    "load",
]
