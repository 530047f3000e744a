# Read by lazy_loader at run time, which wants relative imports, and by type checkers.
from .auditing.asking import Wanted
from .auditing.run import audit
from .backends import load
from .backends.base import LoadedCLIP
from .data.holdout import EvalData
from .errors import EffaceError, EffaceWarning, InputError, NotFiniteError
from .evaluation.base import Change, ClassScore, Score
from .export.convert import Exported, convert
from .measuring import Options, evaluate
from .methods import METHODS
from .methods.base import ForgetMethod
from .methods.ga import Ga
from .methods.jit import Jit
from .methods.lip import Lip
from .methods.projection import Projection
from .methods.reassign import Reassign
from .methods.subgroup import Subgroup
from .pipeline import Run, forget
from .report.record import Measurement, Record
from .sifting import Sifting
from .synthesis.ascent import GradientAscent
from .synthesis.batch import BatchAscent
from .types import DualEncoder, LabelledImages

__all__ = [
    "METHODS",
    "BatchAscent",
    "Change",
    "ClassScore",
    "DualEncoder",
    "EffaceError",
    "EffaceWarning",
    "EvalData",
    "Exported",
    "ForgetMethod",
    "Ga",
    "GradientAscent",
    "InputError",
    "Jit",
    "LabelledImages",
    "Lip",
    "LoadedCLIP",
    "Measurement",
    "NotFiniteError",
    "Options",
    "Projection",
    "Reassign",
    "Record",
    "Run",
    "Score",
    "Sifting",
    "Subgroup",
    "Wanted",
    "audit",
    "convert",
    "evaluate",
    "forget",
    "load",
]
