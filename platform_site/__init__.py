"""The Django project of Switchyard."""

__version__ = "0.1.0"
