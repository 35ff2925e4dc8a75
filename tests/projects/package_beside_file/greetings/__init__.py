from .state import Languages

__all__ = ["Languages"]
