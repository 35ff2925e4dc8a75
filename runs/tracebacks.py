"""A stored traceback as frames: what the graph's author wrote open, libraries folded and counted."""

import re
from dataclasses import dataclass, field

_FRAME = re.compile(r'^\s*File "(?P<path>[^"]+)", line (?P<line>\d+)(?:, in (?P<name>.+))?$')
_LIBRARY = re.compile(r"(site-packages|dist-packages|[/\\]lib[/\\]python3|^<frozen )")
_OURS = re.compile(r"[/\\](runs[/\\]engine|platform_site[/\\]core)[/\\]")
_MARKS = re.compile(r"^\s*[\^~]+\s*$")


@dataclass(slots=True)
class Frame:
    path: str
    line: int
    name: str
    source: list[str] = field(default_factory=list)

    @property
    def is_library(self) -> bool:
        return bool(_LIBRARY.search(self.path) or _OURS.search(self.path))

    @property
    def place(self) -> str:
        """The end of the path: enough to find the file, short enough to read."""
        return "/".join(re.split(r"[/\\]", self.path)[-2:])


def frames(traceback: str) -> list[Frame]:
    """The frames of a Python traceback, outermost first; empty if it has none."""
    found: list[Frame] = []
    for text in traceback.splitlines():
        if match := _FRAME.match(text):
            found.append(Frame(match["path"], int(match["line"]), match["name"] or ""))
        elif found and text.startswith("    ") and not _MARKS.match(text):
            found[-1].source.append(text[4:])
        elif text and not text.startswith(" "):
            # A new heading: the exception's own line, or "During handling of the above …".
            continue
    return found
