"""An embedding that needs no key and no network: words are alike when they share pieces of three letters.

It knows spellings, not meanings: "bicycles" is near "bicycle", and far from "bike". Good for a sample; for real work
name a model in `store.index.embed` of `langgraph.json`.
"""

import math
import re
from collections.abc import Sequence
from zlib import crc32

DIMS = 256


def embed(texts: Sequence[str]) -> list[list[float]]:
    """A vector of length 1 for each text, the same on every machine."""
    return [_vector(text) for text in texts]


def _vector(text: str) -> list[float]:
    numbers = [0.0] * DIMS
    for word in re.findall(r"\w+", text.casefold()):
        marked = f"<{word}>"
        for start in range(len(marked) - 2):
            hashed = crc32(marked[start : start + 3].encode())
            # The sign keeps pieces that fall on one number from adding up.
            numbers[hashed % DIMS] += 1.0 if hashed & 0x8000_0000 else -1.0
    length = math.sqrt(sum(number * number for number in numbers))
    return [number / length for number in numbers] if length else numbers
