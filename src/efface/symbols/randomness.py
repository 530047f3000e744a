"""Random integers that depend on nothing but their names: no library's generator, so no library's version.

A value is the hash of (stream, image, purpose). Images can so be made one by one, in any order and on any machine.
"""

import hashlib

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]


def mix(values: U64) -> U64:
    """The output function of SplitMix64 (Steele, Lea and Flood 2014), a permutation of the 64-bit integers."""
    z = values * np.uint64(1)
    z ^= z >> np.uint64(30)
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def below(limit: int, stream: str, purpose: str, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """An integer in [0, ``limit``) for each row of a stream; other purposes give unrelated integers.

    The remainder of 64 bits: for the small limits here its bias is below 1e-15.
    """
    key = np.frombuffer(hashlib.sha256(f"{stream}/{purpose}".encode()).digest()[:8], "<u8")
    hashed = mix(mix(rows.astype(np.uint64) + np.uint64(1)) ^ key)
    return (hashed % np.uint64(limit)).astype(np.int64)
