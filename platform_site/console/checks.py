"""One thing that the health strip says."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """A part of the server, how it is doing (`ok`, `late` or `bad`) and a sentence on it."""

    name: str
    tone: str
    text: str

    @property
    def glyph(self) -> str:
        return {"ok": "g-ok", "late": "g-late", "bad": "g-bad"}[self.tone]
