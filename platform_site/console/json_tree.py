"""Any JSON value as nested `details`: folds work without JavaScript, everything in it is escaped."""

from collections.abc import Iterable
from typing import Any

from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

# More than a person reads in one page; what is left out is said.
MAX_NODES = 3000
CHILDREN_AT_ONCE = 200
MAX_TEXT = 20_000
LINE = 120


def json_tree(value: Any, open_levels: int = 2) -> SafeString:
    """The markup of `value`; the first `open_levels` levels are unfolded."""
    tree = _Tree(open_levels)
    if isinstance(value, (dict, list)):
        body = tree.children(value, 0)
    else:
        body = f'<ul><li><span class="line">{_scalar(value)}</span></li></ul>'
    if tree.left_out:
        body += '<p class="jm">The rest is too much for a page; the API has all of it.</p>'
    return mark_safe(f'<div class="json">{body}</div>')


class _Tree:
    def __init__(self, open_levels: int) -> None:
        self.open_levels = open_levels
        self.nodes = 0
        self.left_out = False

    def children(self, value: dict[Any, Any] | list[Any], depth: int) -> str:
        pairs = list(value.items() if isinstance(value, dict) else enumerate(value))
        first, rest = pairs[:CHILDREN_AT_ONCE], pairs[CHILDREN_AT_ONCE:]
        items = self._items(first, isinstance(value, list), depth)
        if rest and self.nodes < MAX_NODES:
            shown = dict(rest) if isinstance(value, dict) else [item for _, item in rest]
            more = self.children(shown, depth + 1)
            items += f'<li><details><summary><span class="jm">{len(rest):,} more</span></summary>{more}</details></li>'
        return f"<ul>{items}</ul>"

    def _items(self, pairs: Iterable[tuple[Any, Any]], numbered: bool, depth: int) -> str:
        out = []
        for key, item in pairs:
            if self.nodes >= MAX_NODES:
                self.left_out = True
                break
            self.nodes += 1
            out.append(self._item(key, item, numbered, depth))
        return "".join(out)

    def _item(self, key: Any, item: Any, numbered: bool, depth: int) -> str:
        label = f'<span class="{"jm" if numbered else "jk"}">{escape(key)}</span>'
        if isinstance(item, (dict, list)) and item:
            unit = "item" if isinstance(item, list) else "key"
            count = f"{len(item):,} {unit}{'' if len(item) == 1 else 's'}"
            unfolded = " open" if depth + 1 < self.open_levels and len(item) <= 20 else ""
            hint = f'<span class="js cut">&nbsp;{escape(hint)}</span>' if (hint := _hint(item)) else ""
            return (
                f'<li><details{unfolded}><summary>{label}{hint}<span class="jm">&nbsp;{count}</span></summary>'
                f"{self.children(item, depth + 1)}</details></li>"
            )
        if isinstance(item, str) and (len(item) > LINE or "\n" in item):
            start = escape(_first_line(item))
            return (
                f'<li><details><summary>{label}:&nbsp;<span class="js cut">"{start}…"</span></summary>'
                f'<pre class="js">{_long_text(item)}</pre></details></li>'
            )
        return f'<li><span class="line">{label}: {_scalar(item)}</span></li>'


def _scalar(value: Any) -> str:
    if value is None:
        return '<span class="jz">null</span>'
    if isinstance(value, bool):
        return f'<span class="jb">{str(value).lower()}</span>'
    if isinstance(value, (int, float)):
        return format_html('<span class="jn">{}</span>', value)
    if isinstance(value, (dict, list)):
        return f'<span class="jm">{"{}" if isinstance(value, dict) else "[]"}</span>'
    return format_html('<span class="js">"{}"</span>', value)


def _hint(item: Any) -> str:
    """What a folded message says: who speaks and how it begins."""
    if not isinstance(item, dict) or not isinstance(item.get("content"), str):
        return ""
    who = item.get("type") or item.get("role")
    return f'{who} "{_first_line(item["content"], 48)}"' if isinstance(who, str) else ""


def _first_line(text: str, width: int = 80) -> str:
    line = text.strip().split("\n", 1)[0]
    return line if len(line) <= width else line[: width - 1] + "…"


def _long_text(text: str) -> str:
    if len(text) <= MAX_TEXT:
        return str(escape(text))
    return f"{escape(text[:MAX_TEXT])}… and {len(text) - MAX_TEXT:,} more characters"
