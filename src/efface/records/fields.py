"""What the fields of a record may hold: checked where one is read, and said in its published schema."""

from typing import Annotated

from pydantic import Field

LARGEST = 2**53
"""The largest whole number that every program that reads JSON has exactly."""

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
"""A sha256, in lower-case hexadecimal."""
Time = Annotated[
    str, Field(pattern="^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z$")
]
"""In UTC to the second, as ``2026-01-31T12:00:00Z``."""
TIME = "%Y-%m-%dT%H:%M:%SZ"
"""How such a time is written and read."""
Share = Annotated[float, Field(ge=0, le=1)]
"""A fraction, or an end of its interval."""
Difference = Annotated[float, Field(ge=-1, le=1)]
"""Of two fractions, or an end of its interval."""
Positive = Annotated[int, Field(ge=1, le=LARGEST)]
"""How many of something there is at least one of."""
Count = Annotated[int, Field(ge=0, le=LARGEST)]
"""How many of something."""
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""Seconds, or a norm."""
Finite = Annotated[float, Field(allow_inf_nan=False)]
"""Any number but NaN and the infinite ones."""
