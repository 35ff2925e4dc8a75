"""Tags and filters of the pages: one tag for each component that takes arguments."""

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from platform_site.console import wording
from platform_site.console.json_tree import json_tree as draw_tree

register = template.Library()

register.filter("number", wording.number)
register.filter("took", wording.took)
register.filter("whole_took", wording.whole_took)
register.filter("short_id", wording.short_id)
register.filter("initials", wording.initials)
register.filter("bytes", wording.size)


@register.simple_tag
def icon(name: str, small: bool = False) -> SafeString:
    """A symbol of the sprite; decoration only, the words beside it say the same."""
    return format_html('<svg class="{}" aria-hidden="true"><use href="#{}"/></svg>', "i i-s" if small else "i", name)


@register.simple_tag
def glyph(name: str, tone: str = "mute") -> SafeString:
    return format_html('<svg class="g is-{}" aria-hidden="true"><use href="#{}"/></svg>', tone, name)


@register.simple_tag
def when(moment: datetime | None) -> SafeString | str:
    """How long ago, the exact time in its title."""
    if moment is None:
        return wording.NONE
    return format_html(
        '<time datetime="{}" title="{}" tabindex="-1">{}</time>',
        moment.isoformat(timespec="seconds"),
        f"{moment:%Y-%m-%d %H:%M:%S} UTC",
        wording.ago(moment),
    )


@register.simple_tag
def waiting_since(moment: datetime) -> SafeString:
    """For how long, the exact time in its title."""
    seconds = int((timezone.now() - moment).total_seconds())
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        moment.isoformat(timespec="seconds"),
        f"since {moment:%Y-%m-%d %H:%M:%S} UTC",
        # From a minute on, seconds would only make the list restless.
        wording.took(seconds - seconds % 60 if seconds >= 60 else seconds),
    )


@register.filter
def is_old(moment: datetime) -> bool:
    """Whether somebody has waited for longer than an hour."""
    return timezone.now() - moment > timedelta(hours=1)


@register.inclusion_tag("components/badge.html")
def badge(shown: Any, boxed: bool = False, element_id: str = "") -> dict[str, Any]:
    return {"shown": shown, "boxed": boxed, "element_id": element_id}


@register.simple_tag
def json_tree(value: Any, open_levels: int = 2) -> SafeString:
    return draw_tree(value, open_levels)


@register.simple_tag(takes_context=True)
def query(context: template.Context, **changes: Any) -> str:
    """The page's query string with some parameters changed or, if empty, taken out."""
    params = context["request"].GET.copy()
    for name in ("page", "part"):
        params.pop(name, None)
    for name, value in changes.items():
        if value in (None, ""):
            params.pop(name, None)
        else:
            params[name] = value
    return "?" + urlencode(list(params.items()))
