"""Forms of arrays and tables: NumPy's, pandas', and those of libraries that give lists or arrays of what they hold.

None of the libraries is imported for a question: whoever has such a value has imported its library.
"""

import importlib
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import ormsgpack

if TYPE_CHECKING:
    from platform_site.core.serialization.forms import Form
    from platform_site.core.serialization.packing import Packer

# LangGraph's codes (`forms.py`, which imports this module).
SINGLE_ARGUMENT, ARRAY = 0, 6
# Kinds of NumPy's dtypes whose bytes are the value, and whose name says which they are.
_BYTES = "biufcmMSU"
# Kinds whose buffer can be packed without a copy.
_BUFFERS = "biufc"


@lru_cache(maxsize=512)
def table_form(cls: type) -> "Form | None":
    """Return the function that makes the form of such values, or None for a class of another kind."""
    library = cls.__module__.partition(".")[0]
    if library == "pandas" and (form := _pandas_form(cls)) is not None:
        return form
    if library == "numpy":
        numpy: Any = sys.modules["numpy"]
        if issubclass(cls, numpy.ma.MaskedArray):
            return _masked
        if issubclass(cls, numpy.ndarray):
            return _array
        if issubclass(cls, numpy.generic):
            return _scalar
    elif (numpy := sys.modules.get("numpy")) is not None and issubclass(cls, numpy.ndarray):
        return _array
    for method in ("to_dicts", "to_pylist"):
        # Records, as polars and Arrow give them.
        if callable(getattr(cls, method, None)):
            return lambda packer, value: getattr(value, method)()
    if callable(getattr(cls, "__array__", None)):
        return lambda packer, value: importlib.import_module("numpy").asarray(value)
    return None


# --- NumPy ---------------------------------------------------------------------------------------


def _array(packer: "Packer", array: Any) -> Any:
    numpy: Any = sys.modules["numpy"]
    array = numpy.asarray(array)
    dtype, shape = array.dtype, list(array.shape)
    if dtype.kind in _BYTES:
        order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
        whole = array.flags.c_contiguous and array.size and dtype.kind in _BUFFERS
        buffer = memoryview(array) if whole else array.tobytes(order="A")
        return ormsgpack.Ext(ARRAY, packer.parts([dtype.str, shape, order, buffer]))
    if dtype.names and not dtype.hasobject:
        facts = {"dtype": dtype.descr, "shape": shape}
        return packer.ext(SINGLE_ARGUMENT, "numpy", "ndarray", array.tobytes(), facts)
    if dtype.kind == "V" and not dtype.names:
        # A number type of another library, such as bfloat16.
        return array.astype("float32") if dtype.type.__module__ != "numpy" else _void(packer, array, shape)
    # Objects and text of any length are packed one by one.
    facts = {"dtype": dtype.kind if dtype.kind in "OT" else "O", "shape": shape}
    return packer.ext(SINGLE_ARGUMENT, "numpy", "ndarray", array.ravel().tolist(), facts)


def _void(packer: "Packer", array: Any, shape: list[int]) -> Any:
    facts = {"dtype": array.dtype.str, "shape": shape}
    return packer.ext(SINGLE_ARGUMENT, "numpy", "ndarray", array.tobytes(), facts)


def _masked(packer: "Packer", array: Any) -> Any:
    parts = [array.data, importlib.import_module("numpy").ma.getmaskarray(array)]
    return packer.ext(SINGLE_ARGUMENT, "numpy.ma", "MaskedArray", parts)


def _scalar(packer: "Packer", value: Any) -> Any:
    if isinstance(value, (str, bytes)) or value.dtype.hasobject:
        return value.item()
    plain = value.item()
    if not isinstance(plain, (bool, int, float, complex, bytes)):
        plain = str(value)
    dtype = value.dtype.descr if value.dtype.names else value.dtype.str
    return packer.ext(SINGLE_ARGUMENT, "numpy", "scalar", plain, {"dtype": dtype, "bytes": value.tobytes()})


def array_from(buffer: bytes, dtype: str, shape: list[int], order: str) -> Any:
    """Return an array that can be written to."""
    numpy: Any = importlib.import_module("numpy")
    return numpy.frombuffer(buffer, dtype=numpy.dtype(dtype)).reshape(shape, order=order).copy(order="K")


def odd_array_from(value: Any, facts: dict[str, Any]) -> Any:
    numpy: Any = importlib.import_module("numpy")
    if isinstance(value, bytes):
        return array_from(value, facts["dtype"], facts["shape"], "C")
    if facts["dtype"] == "T":
        return numpy.array(value, dtype=numpy.dtypes.StringDType()).reshape(facts["shape"])
    array = numpy.empty(len(value), dtype=object)
    for index, item in enumerate(value):
        array[index] = item
    return array.reshape(facts["shape"])


def scalar_from(value: Any, facts: dict[str, Any]) -> Any:
    numpy: Any = importlib.import_module("numpy")
    return numpy.frombuffer(facts["bytes"], dtype=numpy.dtype(facts["dtype"]))[0]


def masked_from(value: Any, facts: dict[str, Any]) -> Any:
    data, mask = value
    return importlib.import_module("numpy").ma.MaskedArray(data, mask)


# --- pandas --------------------------------------------------------------------------------------


def _pandas_form(cls: type) -> "Form | None":
    pandas: Any = sys.modules["pandas"]
    forms: list[tuple[Any, Form]] = [
        (pandas.DataFrame, _frame),
        (pandas.Series, _series),
        (pandas.Index, _index),
        (type(pandas.NA), lambda packer, value: _pandas_value(packer, "NA", None)),
        (type(pandas.NaT), lambda packer, value: _pandas_value(packer, "NaT", None)),
        (pandas.Timestamp, _timestamp),
        (pandas.Timedelta, lambda packer, value: _pandas_value(packer, "Timedelta", [value.value, value.unit])),
        (pandas.Period, lambda packer, value: _pandas_value(packer, "Period", [str(value), value.freqstr])),
        (
            pandas.Interval,
            lambda packer, value: _pandas_value(packer, "Interval", [value.left, value.right, value.closed]),
        ),
        (pandas.api.extensions.ExtensionArray, lambda packer, value: pandas.Series(value)),
    ]
    return next((form for base, form in forms if issubclass(cls, base)), None)


def _pandas_value(packer: "Packer", name: str, value: Any) -> Any:
    return packer.ext(SINGLE_ARGUMENT, "pandas", name, value)


def _timestamp(packer: "Packer", value: Any) -> Any:
    zone = None if value.tz is None else str(value.tz)
    facts = {"value": value.value, "unit": value.unit, "zone": zone}
    return packer.ext(SINGLE_ARGUMENT, "pandas", "Timestamp", value.isoformat(), facts)


def _frame(packer: "Packer", frame: Any) -> Any:
    columns = [_column(frame.iloc[:, place]) for place in range(frame.shape[1])]
    return _pandas_value(packer, "DataFrame", {"columns": frame.columns, "index": frame.index, "data": columns})


def _series(packer: "Packer", series: Any) -> Any:
    return _pandas_value(packer, "Series", {"name": series.name, "index": series.index, "data": _column(series)})


def _index(packer: "Packer", index: Any) -> Any:
    pandas: Any = sys.modules["pandas"]
    if isinstance(index, pandas.RangeIndex):
        return _pandas_value(packer, "Index", {"range": [index.start, index.stop, index.step], "names": [index.name]})
    names = list(index.names)
    if isinstance(index, pandas.MultiIndex):
        levels = [_column(index.get_level_values(place).to_series()) for place in range(index.nlevels)]
        return _pandas_value(packer, "Index", {"levels": levels, "names": names})
    return _pandas_value(packer, "Index", {"data": _column(index.to_series()), "names": names})


def _column(series: Any) -> dict[str, Any]:
    """Return the values of a column: an array if they are plain, else a list with the name of their dtype."""
    pandas: Any = sys.modules["pandas"]
    dtype = series.dtype
    if isinstance(dtype, pandas.CategoricalDtype):
        codes = series.cat.codes.to_numpy()
        return {"codes": codes, "categories": _column(dtype.categories.to_series()), "ordered": bool(dtype.ordered)}
    if getattr(dtype, "kind", "O") in _BYTES and type(dtype).__module__.partition(".")[0] == "numpy":
        return {"array": series.to_numpy()}
    return {"items": series.tolist(), "dtype": str(dtype)}


def dataframe_from(value: dict[str, Any], facts: dict[str, Any]) -> Any:
    """Return the table, or its records where pandas is not installed."""
    pandas = _pandas()
    if pandas is None:
        return _records(value)
    columns = {place: _values(column) for place, column in enumerate(value["data"])}
    frame = pandas.DataFrame(columns, index=value["index"])
    frame.columns = value["columns"]
    return frame


def series_from(value: dict[str, Any], facts: dict[str, Any]) -> Any:
    pandas = _pandas()
    if pandas is None:
        return _plain_column(value["data"])
    return pandas.Series(_values(value["data"]), index=value["index"], name=value["name"])


def index_from(value: dict[str, Any], facts: dict[str, Any]) -> Any:
    pandas = _pandas()
    if pandas is None:
        if "range" in value:
            return list(range(*value["range"]))
        columns = [_plain_column(column) for column in value.get("levels") or [value["data"]]]
        return [list(row) for row in zip(*columns, strict=True)] if "levels" in value else columns[0]
    if "range" in value:
        return pandas.RangeIndex(*value["range"], name=value["names"][0])
    if "levels" in value:
        return pandas.MultiIndex.from_arrays([_values(level) for level in value["levels"]], names=value["names"])
    return pandas.Index(_values(value["data"]), name=value["names"][0])


def na_from(value: Any, facts: dict[str, Any]) -> Any:
    return getattr(_pandas(), "NA", None)


def nat_from(value: Any, facts: dict[str, Any]) -> Any:
    return getattr(_pandas(), "NaT", None)


def timestamp_from(value: str, facts: dict[str, Any]) -> Any:
    pandas = _pandas()
    if pandas is None:
        return value
    stamp = pandas.Timestamp(facts["value"], tz="UTC").as_unit(facts["unit"])
    return stamp.tz_localize(None) if facts["zone"] is None else stamp.tz_convert(facts["zone"])


def timedelta_from(value: list[Any], facts: dict[str, Any]) -> Any:
    pandas = _pandas()
    return value if pandas is None else pandas.Timedelta(value[0]).as_unit(value[1])


def period_from(value: list[Any], facts: dict[str, Any]) -> Any:
    pandas = _pandas()
    return value[0] if pandas is None else pandas.Period(value[0], freq=value[1])


def interval_from(value: list[Any], facts: dict[str, Any]) -> Any:
    pandas = _pandas()
    return value if pandas is None else pandas.Interval(*value)


def _pandas() -> Any:
    try:
        return importlib.import_module("pandas")
    except ImportError:
        return None


def _values(column: dict[str, Any]) -> Any:
    pandas = _pandas()
    if "array" in column:
        return column["array"]
    if "codes" in column:
        categories = pandas.Index(_values(column["categories"]))
        return pandas.Categorical.from_codes(column["codes"], categories, ordered=column["ordered"])
    try:
        return pandas.array(column["items"], dtype=column["dtype"])
    except (TypeError, ValueError):
        return pandas.array(column["items"], dtype=object)


def _plain_column(column: dict[str, Any]) -> list[Any]:
    if "codes" in column:
        categories = _plain_column(column["categories"])
        return [None if code < 0 else categories[code] for code in column["codes"]]
    return list(column["items"] if "items" in column else column["array"].tolist())


def _records(value: dict[str, Any]) -> list[dict[Any, Any]]:
    names = value["columns"]
    columns = [_plain_column(column) for column in value["data"]]
    return [dict(zip(map(_name, names), row, strict=True)) for row in zip(*columns, strict=True)]


def _name(name: Any) -> Any:
    return tuple(name) if isinstance(name, list) else name
