"""Variables of the environment, read as what they are to be.

Every function but `env` raises `ImproperlyConfigured` with a sentence that names the variable and what was expected.
"""

import math
import os

from django.core.exceptions import ImproperlyConfigured

from platform_site.core.telemetry.process_memory import memory_limit


def env(name: str, default: str = "") -> str:
    """Return the text of a variable without the spaces around it; the default if nothing is left."""
    return os.environ.get(name, "").strip() or default


def env_number(name: str, default: float, minimum: float = 0) -> float:
    """Return the number in a variable, in the unit that ends its name."""
    raw = env(name)
    if not raw:
        return default
    try:
        value = float(raw)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        unit = next((f" of {unit}" for unit in ("bytes", "seconds") if name.lower().endswith(f"_{unit}")), "")
        hint = f"; write the number{unit} without a unit" if unit else ""
        raise ImproperlyConfigured(f"{name} must be a number, not {raw!r}{hint}")
    if value < minimum:
        # Not with `:g`, which writes a million as 1e+06.
        raise ImproperlyConfigured(f"{name} must be at least {minimum:.15g}, not {raw}")
    return value


def env_int(name: str, default: int, minimum: int = 0) -> int:
    """Return the whole number in a variable."""
    value = env_number(name, default, minimum)
    if value != int(value):
        raise ImproperlyConfigured(f"{name} must be a whole number, not {value}")
    return int(value)


def env_memory(name: str, default: int, minimum: int = 0) -> int:
    """Return bytes of memory that something may hold: no more than there are, or it would bound nothing."""
    value = env_int(name, default, minimum)
    if value > (most := memory_limit()):
        raise ImproperlyConfigured(f"{name} must be at most the memory of this process, {most} bytes, not {value}")
    return value


def env_port(name: str, default: int) -> int:
    """Return the TCP port in a variable."""
    value = env_int(name, default)
    if value > 65535:
        raise ImproperlyConfigured(f"{name} must be at most 65535, not {value}")
    return value


def env_choice(name: str, default: str, choices: tuple[str, ...]) -> str:
    """Return which of the choices a variable names, in small letters."""
    value = env(name, default).lower()
    if value not in choices:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(choices)}, not {value!r}")
    return value


def env_bool(name: str, default: bool) -> bool:
    """Return whether a variable says true."""
    return env_choice(name, "true" if default else "false", ("true", "false", "1", "0")) in ("true", "1")
