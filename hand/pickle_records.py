"""The names a pickle may use here, the inert records they make, and the plain arrays those records stand for.

A record holds what the file said about an object and nothing else; `plain_value` computes arrays from records after
the file has been read, checking sizes against the bytes that are there. Nothing that a file names is ever called: a
`Global` is the name alone.
"""

import math
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import brief, one_line

MOST_BYTES = 256 * 2**20
"""Of all arrays of one file together, however often they share their data."""
_MOST_ENTRIES, _DEEPEST = 1_000_000, 100  # of a file's lists and dictionaries, written out
_SPARSE = ("csc", "csr", "coo")
_NUMPY = ("numpy.core.", "numpy._core.")
# What a name stands for. Python 2 and 3, old and new module paths of numpy and scipy, chumpy's two classes.
_ALLOWED: dict[tuple[str, str], str] = {
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("chumpy.ch", "Ch"): "Ch",
    ("chumpy.reordering", "Select"): "Select",
    ("__builtin__", "set"): "set",
    ("builtins", "set"): "set",
    ("__builtin__", "object"): "object",
    ("builtins", "object"): "object",
    ("copy_reg", "_reconstructor"): "reconstructor",
    ("copyreg", "_reconstructor"): "reconstructor",
    ("_codecs", "encode"): "encode",
    ("__builtin__", "bytes"): "bytes",
    ("builtins", "bytes"): "bytes",
}
for _core in _NUMPY:
    _ALLOWED[(f"{_core}multiarray", "_reconstruct")] = "numpy_reconstruct"
    _ALLOWED[(f"{_core}multiarray", "scalar")] = "numpy_scalar"
    _ALLOWED[(f"{_core}numeric", "_frombuffer")] = "numpy_frombuffer"
for _format in _SPARSE:
    for _module in ("scipy.sparse", f"scipy.sparse.{_format}", f"scipy.sparse._{_format}"):
        _ALLOWED[(_module, f"{_format}_matrix")] = f"sparse_{_format}"
        _ALLOWED[(_module, f"{_format}_array")] = f"sparse_{_format}"

# Kinds of which a file may make an empty object and fill it with a state.
_OBJECTS = frozenset(["Ch", "Select", *(f"sparse_{name}" for name in _SPARSE)])
_PLAIN_DTYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|c(8|16)|S[1-9]\d{0,5}|U[1-9]\d{0,5}|O[48]?|\?)")


class Refused(Exception):
    """The file wants something that plain data never needs; the message says what."""


@dataclass(eq=False)
class Record:
    """An object of the file: its kind, what it was made with, and the state it was given."""

    kind: str
    arguments: tuple = ()
    state: Any = None
    label: str = field(default="object")

    def set_state(self, state: Any) -> None:
        """Keep the state that the file gives this object; once, as pickling does."""
        if self.state is not None:
            raise ValueError(f"a second state for one {self.label}")
        if self.kind in _OBJECTS and isinstance(state, tuple) and len(state) == 2:
            state = state[0]  # (attributes, slots): none of these classes has slots
        if self.kind in _OBJECTS and not isinstance(state, dict):
            raise ValueError(f"a {self.label} without a dictionary of attributes")
        self.state = state


@dataclass(frozen=True)
class Global:
    """An allowed name of the file. It is never imported."""

    kind: str
    label: str

    @staticmethod
    def named(module: str, name: str) -> "Global":
        """The allowed global `module.name`; Refused, by that name, for every other one."""
        kind = _ALLOWED.get((module, name))
        if kind is None:
            raise Refused(f"it names {one_line(f'{module}.{name}', 80)}")
        return Global(kind, f"{module}.{name}")

    def new(self, arguments: Any) -> Record:
        """An object of this class, as the opcodes NEWOBJ, OBJ and INST ask for."""
        if self.kind not in _OBJECTS or arguments != ():
            raise Refused(f"it makes an object of {self.label} in an unknown way")
        return Record(self.kind, label=self.label)


def reduce_global(function: Any, arguments: Any) -> Any:
    """What calling the allowed name `function` with `arguments` would have given, as inert data. Refused otherwise."""
    if not isinstance(function, Global):
        raise Refused(f"it calls a {getattr(function, 'label', type(function).__name__)}")
    if not isinstance(arguments, tuple):
        raise ValueError("a call whose arguments are no tuple")
    kind = function.kind
    if kind in ("dtype", "numpy_scalar", "numpy_frombuffer"):
        return Record(kind, arguments, label=function.label)
    if kind == "numpy_reconstruct" and _is(arguments[:1], "ndarray"):
        return Record("ndarray", label="numpy.ndarray")
    if kind == "reconstructor" and len(arguments) == 3 and _is(arguments[1:2], "object") and arguments[2] is None:
        return _class_of(arguments[0]).new(())
    if kind == "set" and len(arguments) <= 1 and all(isinstance(items, list | tuple | set) for items in arguments):
        return set(*arguments)
    if kind == "encode" and len(arguments) == 2 and arguments[1] in ("latin1", "latin-1", "iso-8859-1"):
        if isinstance(arguments[0], str):
            return arguments[0].encode("latin-1")
    elif kind == "bytes" and arguments == ():  # how Python 3 writes empty bytes for Python 2
        return b""
    elif kind in _OBJECTS and arguments == ():
        return function.new(())
    raise Refused(f"it calls {function.label} with unexpected arguments")


def plain_value(value: Any) -> Any:
    """`value` with every record replaced by the array it stands for. ValueError where a record makes no sense."""
    check_scale(value)
    return _Resolver().plain(value)


def check_scale(value: Any) -> None:
    """ValueError where a value is too deep, or has too many entries when shared parts are written out each time."""
    _Scale().weigh(value)


def _class_of(value: Any) -> Global:
    if not isinstance(value, Global):
        raise Refused(f"it makes an object of a {type(value).__name__}")
    return value


def _is(arguments: tuple, kind: str) -> bool:
    return len(arguments) == 1 and isinstance(arguments[0], Global) and arguments[0].kind == kind


class _Scale:
    """Weighs a value as if every object that a file names many times were written out each time."""

    def __init__(self) -> None:
        self.known: dict[int, tuple[int, int]] = {}

    def weigh(self, value: Any) -> tuple[int, int]:
        """Entries and depth; ValueError where there are too many, or the value is too deep."""
        if not isinstance(value, Record | dict | list | tuple | set | frozenset):
            return 1, 0
        key = id(value)
        if key not in self.known:
            self.known[key] = 0, 0  # met again below itself: the resolver refuses that
            parts = [self.weigh(part) for part in _parts(value)]
            entries, depth = 1 + sum(part[0] for part in parts), 1 + max((part[1] for part in parts), default=0)
            if entries > _MOST_ENTRIES:
                raise ValueError(f"more than {_MOST_ENTRIES} entries when written out")
            if depth > _DEEPEST:
                raise ValueError(f"nested more than {_DEEPEST} deep")
            self.known[key] = entries, depth
        return self.known[key]


def _parts(value: Any) -> Any:
    if isinstance(value, Record):
        return (value.arguments, value.state)
    return value.values() if isinstance(value, dict) else value


class _Resolver:
    """Turns records into values, each once (a file may point to one object many times), refusing cycles."""

    def __init__(self) -> None:
        self.done: dict[int, Any] = {}
        self.open: set[int] = set()
        self.made = 0

    def plain(self, value: Any) -> Any:
        if isinstance(value, Global):
            raise Refused(f"it holds {value.label} itself as a value")
        if not isinstance(value, Record | dict | list | tuple | set | frozenset):
            return value
        key = id(value)  # the file's objects outlive the resolver, so ids are unique
        if key not in self.done:
            if key in self.open:
                raise ValueError("an object that contains itself")
            self.open.add(key)
            self.done[key] = self._resolve(value)
            self.open.remove(key)
        return self.done[key]

    def _resolve(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {self.plain(key): self.plain(item) for key, item in value.items()}
        if isinstance(value, Record):
            return getattr(self, f"_{value.kind.partition('_')[0]}")(value)
        return type(value)(self.plain(item) for item in value)

    def _charge(self, size: int) -> None:
        """Count bytes that are about to be made or walked through."""
        self.made += size
        if self.made > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES >> 20} MB of arrays")

    # One method per kind of record (the kind's first word).
    def _ndarray(self, record: Record) -> np.ndarray:
        if not isinstance(record.state, tuple) or len(record.state) != 5:
            raise ValueError("an array without its shape, type and data")
        _, shape, dtype, fortran, data = record.state
        return self._array(data, self.plain(dtype), self.plain(shape), "F" if fortran else "C")

    def _dtype(self, record: Record) -> np.dtype:
        code = record.arguments[0] if record.arguments else None
        if not isinstance(code, str) or not _PLAIN_DTYPE.fullmatch(code):
            raise Refused(f"it names the array type {brief(code, 80)}")
        dtype = np.dtype("O" if code.startswith("O") else code)
        if record.state is None:
            return dtype
        if not isinstance(record.state, tuple) or len(record.state) < 8:
            raise ValueError("an array type with an unknown state")
        _, order, subtype, names, fields = record.state[:5]
        if (subtype, names, fields) != (None, None, None) or order not in ("<", ">", "|", "="):
            raise Refused("it names a structured array type")
        return dtype.newbyteorder(order)

    def _numpy(self, record: Record) -> Any:
        if record.kind == "numpy_scalar":
            dtype, data = (self.plain(argument) for argument in record.arguments)
            return self._array(data, dtype, (), "C")[()]
        # Protocol 5: _frombuffer(buffer, dtype, shape, order[, axis_order]).
        data, dtype, shape, order, *axes = (self.plain(argument) for argument in record.arguments)
        if axes and axes[0] is not None:
            return self._array(data, dtype, shape, "C").transpose(axes[0])
        return self._array(data, dtype, shape, "F" if order == "F" else "C")

    def _array(self, data: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
        """A fresh array; its size is checked against the data that is there before anything is reserved."""
        if not isinstance(dtype, np.dtype) or not isinstance(shape, tuple) or len(shape) > 32:
            raise ValueError("an array with an unknown type or shape")
        if not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError(f"an array of shape {brief(shape, 80)}")
        count = math.prod(shape)
        if dtype.hasobject:
            self._charge(8 * count)
            if not isinstance(data, list) or len(data) != count:
                raise ValueError("an array of objects without its list")
            array = np.empty(count, dtype=object)
            for i, item in enumerate(data):
                array[i] = self.plain(item)
            return array.reshape(shape, order="F" if order == "F" else "C")
        self._charge(count * dtype.itemsize)
        if isinstance(data, str):  # Python 2's byte strings
            data = data.encode("latin-1")
        if not isinstance(data, bytes | bytearray) or len(data) != count * dtype.itemsize:
            found = len(data) if isinstance(data, bytes | bytearray) else type(data).__name__
            raise ValueError(f"an array of {count} x {dtype} with {found} bytes")
        return np.frombuffer(data, dtype, count).reshape(shape, order="F" if order == "F" else "C").copy(order="K")

    def _sparse(self, record: Record) -> Any:
        import scipy.sparse  # here: only MANO's own files hold such matrices

        state = {str(name): self.plain(item) for name, item in (record.state or {}).items()}
        shape = state.get("_shape", state.get("shape"))
        if not isinstance(shape, tuple) or len(shape) != 2 or not all(type(n) is int and 0 <= n < 2**31 for n in shape):
            raise ValueError("a sparse matrix without a shape")
        kind = record.kind.removeprefix("sparse_")
        pairs = ("data", "indices", "indptr") if kind != "coo" else ("data", "row", "col")
        if kind == "coo" and isinstance(state.get("coords"), tuple) and len(state["coords"]) == 2:
            state["row"], state["col"] = state["coords"]
        for name in pairs:
            if not isinstance(state[name], np.ndarray) or state[name].dtype.kind not in "biuf":
                raise ValueError(f"a sparse matrix whose {name} is no array of numbers")
            self._charge(4 * state[name].nbytes)  # they are copied and compared
        if kind == "coo":
            row, column = state["row"], state["col"]
            return scipy.sparse.coo_matrix((state["data"], (row, column)), shape=shape)
        make = scipy.sparse.csc_matrix if kind == "csc" else scipy.sparse.csr_matrix
        matrix = make((state["data"], state["indices"], state["indptr"]), shape=shape)
        matrix.check_format(full_check=True)  # indices within the shape: scipy's C code trusts them
        return matrix

    def _Ch(self, record: Record) -> np.ndarray:
        """chumpy.ch.Ch: a free array, stored under x."""
        return self._numbers(record, "x")

    def _Select(self, record: Record) -> np.ndarray:
        """chumpy.reordering.Select: a.ravel()[idxs], in the preferred shape when there is one."""
        source, indices = self._numbers(record, "a").ravel(), self._numbers(record, "idxs")
        if indices.dtype.kind not in "iu":
            raise ValueError("a chumpy Select whose idxs are no integers")
        self._charge(indices.size * source.itemsize)
        selected = source[indices]
        shape = self.plain((record.state or {}).get("preferred_shape"))
        return selected if shape is None else selected.reshape(tuple(int(n) for n in shape))

    def _numbers(self, record: Record, name: str) -> np.ndarray:
        state = record.state or {}
        if name not in state:
            raise ValueError(f"a {record.label} without {name}")
        array = np.asarray(self.plain(state[name]))
        self._charge(array.nbytes)
        if array.dtype.kind not in "biuf":
            raise ValueError(f"a {record.label} whose {name} holds no numbers")
        return array
