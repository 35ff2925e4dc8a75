"""OpenTelemetry traces, asked for by the standard `OTEL_*` variables; without them nothing is imported or done.

What works with OpenTelemetry is in `core.telemetry.otel`, which is imported by `start` alone. Others ask `tracing()`.
"""

import logging
import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

from django.core.exceptions import ImproperlyConfigured

from platform_site.core.telemetry.carrier import CARRIED

if TYPE_CHECKING:
    from platform_site.core.telemetry.otel import Tracing

logger = logging.getLogger("switchyard.tracing")

EXPORTERS = ("otlp", "console")
_PACKAGES = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
_INSTALL = "install Switchyard's extra `otel`: opentelemetry-sdk and opentelemetry-exporter-otlp-proto-http"

_tracing: "Tracing | None" = None


def tracing() -> "Tracing | None":
    """The traces of this process; None if nobody asked for any."""
    return _tracing


def kept(headers: Mapping[str, str]) -> dict[str, str]:
    """What of the headers that a run sees names its trace, to be kept with the run; empty without traces."""
    return {name.removeprefix(CARRIED): value for name, value in headers.items() if name.startswith(CARRIED)}


def exporters(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Where traces go to, as the standard variables say; empty if nowhere. Raises `ImproperlyConfigured`."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return []
    asked = environ.get("OTEL_TRACES_EXPORTER", "").strip()
    if not asked:
        endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
        asked = "otlp" if any(environ.get(name, "").strip() for name in endpoints) else "none"
    names = [name.strip().lower() for name in asked.split(",")]
    if names == ["none"]:
        return []
    for name in names:
        if name not in EXPORTERS:
            raise ImproperlyConfigured(
                f"OTEL_TRACES_EXPORTER must be none or of {', '.join(EXPORTERS)}, not {name!r}: "
                "Switchyard sends traces by OTLP"
            )
    return list(dict.fromkeys(names))


def check(environ: Mapping[str, str] = os.environ) -> list[str]:
    """`exporters`, of which each can be used. Raises `ImproperlyConfigured` if a package is missing or a protocol."""
    names = exporters(environ)
    if "otlp" in names:
        for variable in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
            protocol = environ.get(variable, "").strip()
            if protocol and protocol != "http/protobuf":
                raise ImproperlyConfigured(f"{variable} must be http/protobuf, not {protocol!r}")
            if protocol:
                break
    if names and (missing := [package for package in _PACKAGES if not _is_installed(package)]):
        raise ImproperlyConfigured(
            f"the OTEL_* variables ask for traces, but {missing[0]} is missing: {_INSTALL}, or unset the variables"
        )
    return names


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def start(version: str, *, requests: bool = False) -> None:
    """Begin to trace if the variables ask for it, once a process. `requests`: the API's requests as well as runs.

    Raises `ImproperlyConfigured` as `check` does.
    """
    global _tracing
    if _tracing is not None:
        return
    names = check()
    if not names:
        return
    from platform_site.core.telemetry.otel import Tracing, processors

    _tracing = Tracing(processors(names), version=version, requests=requests)
    _tracing.become_global()
    logger.info("traces go to: %s", ", ".join(names))


def stop() -> None:
    """Send what has not been sent, for a few seconds at most, and trace no more; idempotent."""
    global _tracing
    ended, _tracing = _tracing, None
    if ended is not None:
        ended.close()
