"""An embedding for tests: how often a text has the letters a, b, c and d. "wrong" has too few numbers."""


def embed(texts: list[str]) -> list[list[float]]:
    return [[1.0] if text == "wrong" else [float(text.count(letter)) for letter in "abcd"] for text in texts]
