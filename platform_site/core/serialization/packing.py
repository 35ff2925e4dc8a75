"""Values as msgpack, in the forms of `forms.py`."""

from typing import Any

import ormsgpack

from platform_site.core.serialization.forms import PICKLE, SINGLE_ARGUMENT, NoForm, form_of

_OPTIONS = (
    ormsgpack.OPT_PASSTHROUGH_BIG_INT
    | ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_SUBCLASS
    | ormsgpack.OPT_PASSTHROUGH_TUPLE
    | ormsgpack.OPT_PASSTHROUGH_UUID
    | ormsgpack.OPT_REPLACE_SURROGATES
)
# How the content of a tuple's extension begins, in front of its items.
TUPLE = ormsgpack.packb(["builtins", "tuple", None])[:-1]


class Packer:
    """Packs a value at the speed of ormsgpack, or raises `TypeError`. It has no state."""

    def pack(self, value: Any) -> bytes:
        # Without OPT_NON_STR_KEYS, by which keys of some types would become text: `CarefulPacker` takes such a value.
        return ormsgpack.packb(value, default=self.form, option=_OPTIONS)

    def form(self, value: Any) -> Any:
        """Return what stands for a value that msgpack has no form for."""
        if type(value) is tuple:
            # Tuples are the most frequent of these values, so they skip `form_of`.
            return ormsgpack.Ext(SINGLE_ARGUMENT, TUPLE + self.pack(list(value)))
        cls: Any = type(value)
        return form_of(cls)(self, value)

    def parts(self, parts: list[Any]) -> bytes:
        """Pack the content of an extension."""
        return self.pack(parts)

    def storable(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return those of the values that can be packed: a model makes the others anew when it is rebuilt."""
        kept = {}
        for name, value in values.items():
            try:
                self.pack(value)
            except TypeError:
                continue
            kept[name] = value
        return kept

    def ext(self, code: int, module: str, name: str, value: Any, *facts: Any) -> ormsgpack.Ext:
        return ormsgpack.Ext(code, self.parts([module, name, value, *facts]))


class ValueNotStorable(NoForm):
    """A value that a checkpoint cannot hold. The message names the key under which it is, its type and the node."""

    def __init__(self, path: list[Any], value: Any, reason: str = "") -> None:
        self.path, self.value, self.reason = path, value, reason
        # The task that returned the value, and its node, as far as they are known.
        self.task_id = ""
        self.node: str | None = None
        super().__init__(self._text())

    def under(self, channel: str, task_id: str) -> "ValueNotStorable":
        """Return this error with the channel under which the value was written."""
        if not channel.startswith(("__", "branch:")):
            self.path = [channel, *self.path]
        self.task_id = task_id
        self.args = (self._text(),)
        return self

    def returned_by(self, node: str | None) -> None:
        """Name the node that returned the value."""
        self.node = node
        self.args = (self._text(),)

    def _text(self) -> str:
        cls = type(self.value)
        kind = cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
        # A checkpoint that was packed as one begins with its own key.
        path = self.path[1:] if self.path[:1] == ["channel_values"] else self.path
        place = f" in `{shown_path(path)}`" if path else ""
        returned = f"Node '{self.node}' returned" if self.node else "The state has"
        why = f" ({self.reason})" if self.reason else ""
        return (
            f"{returned} a value of type {kind}{place}, which checkpoints cannot store{why}. "
            "Expected plain data, messages, dataclasses, Pydantic models, enums, named tuples, arrays or tables"
        )


def shown_path(path: list[Any]) -> str:
    """Return a path as `plan.steps[0]`."""
    text = ""
    for step in path:
        if isinstance(step, str):
            text += f".{step}" if text else step
        else:
            text += f"[{step!r}]"
    return text


class CarefulPacker(Packer):
    """Packs what `Packer` refuses: dicts with keys of any type. It says where a value is that has no form at all.

    One object for each value. Slower, because it looks at everything in Python.
    """

    def __init__(self, *, pickles: bool) -> None:
        self._pickles = pickles
        self._path: list[Any] = []

    def pack(self, value: Any) -> bytes:
        try:
            return ormsgpack.packb(self._tree(value), option=_OPTIONS | ormsgpack.OPT_NON_STR_KEYS)
        except NoForm:
            raise
        except (RecursionError, TypeError) as error:
            # A list that contains itself, or one of hundreds of levels.
            raise ValueNotStorable(self._path[:3], value, f"it is nested too deeply: {error}") from None

    def parts(self, parts: list[Any]) -> bytes:
        # The content of an extension adds no step to the path.
        trees = [self._tree(part) for part in parts]
        return ormsgpack.packb(trees, option=_OPTIONS | ormsgpack.OPT_NON_STR_KEYS)

    def form(self, value: Any) -> Any:
        try:
            return _packer.form(value)
        except Exception:
            # A part of the value is odd: the careful way below finds it.
            pass
        try:
            return super().form(value)
        except ValueNotStorable:
            raise
        except RecursionError:
            raise
        except Exception as error:
            reason = "" if isinstance(error, NoForm) and str(error).startswith("Object of") else str(error)
            if not self._pickles:
                raise ValueNotStorable(list(self._path), value, reason) from error
            return self._pickled(value)

    def _pickled(self, value: Any) -> ormsgpack.Ext:
        import pickle

        try:
            return ormsgpack.Ext(PICKLE, pickle.dumps(value))
        except Exception as error:
            raise ValueNotStorable(list(self._path), value, str(error)) from error

    def _tree(self, value: Any) -> Any:
        """Return the value in types that msgpack knows."""
        cls = type(value)
        if cls in _PLAIN or (cls is int and -(2**63) <= value < 2**64):
            return value
        if cls is list:
            return [self._step(index, item) for index, item in enumerate(value)]
        if cls is dict:
            if all(type(key) in _PLAIN or (type(key) is int and -(2**63) <= key < 2**64) for key in value):
                return {key: self._step(key, item) for key, item in value.items()}
            return self._pairs(value)
        form = self.form(value)
        return form if type(form) in _PLAIN else self._tree(form)

    def _pairs(self, value: dict[Any, Any]) -> ormsgpack.Ext:
        """Return the form of a dict with keys that msgpack has no form for, or not one of their own."""
        trees = [[self._tree(key), self._step(key, item)] for key, item in value.items()]
        parts = ["builtins", "dict", trees]
        return ormsgpack.Ext(SINGLE_ARGUMENT, ormsgpack.packb(parts, option=_OPTIONS | ormsgpack.OPT_NON_STR_KEYS))

    def _step(self, step: Any, value: Any) -> Any:
        self._path.append(step)
        tree = self._tree(value)
        # Not in a `finally`: an error keeps the path on which it happened.
        self._path.pop()
        return tree


_PLAIN = frozenset({str, float, bool, type(None), bytes, bytearray, ormsgpack.Ext})
_packer = Packer()


def packed(value: Any, *, pickles: bool) -> bytes:
    """Return the value as msgpack. Raises `ValueNotStorable`, which names the key of what has no form."""
    try:
        return _packer.pack(value)
    except (TypeError, RecursionError):
        return CarefulPacker(pickles=pickles).pack(value)
