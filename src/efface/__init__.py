"""Removes a class from a CLIP model, keeps the rest, and records what it measured.

Names load on first use, so that ``import efface`` and the command line start without torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
