"""Exact comparison of vectors where the database cannot do it."""

from collections.abc import Sequence


def similarities(packed: Sequence[bytes], wanted: Sequence[float]) -> list[float]:
    """The cosine similarity of each vector of 32-bit numbers to `wanted`, to six digits; 0 where one has no length."""
    # Imported by the first search that needs it: the start must not wait for numpy.
    import numpy as np

    rows = np.frombuffer(b"".join(packed), dtype="<f4").reshape(len(packed), len(wanted))
    query = np.asarray(wanted, dtype="<f4")
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows).astype(np.float64)) * np.linalg.norm(query.astype(np.float64))
    products = (rows @ query).astype(np.float64)
    similar = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    # The last bits of a product depend on its place in the matrix: equal vectors must have equal scores.
    rounded: list[float] = np.round(similar, 6).tolist()
    return rounded
