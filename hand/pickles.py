"""Reading other people's pickles without running them: MANO's model files, HO3D's metas, the authors' transform.pkl.

A pickle is a program. This module owns a small interpreter for it that knows the opcodes which build plain data and a
short list of names (numpy arrays, scipy sparse matrices, chumpy's arrays, sets); it imports nothing, looks up no
attribute and calls nothing else, so no code of a file can run. Python's own unpickler is not used: even with an
allow-list it lets a file write into the objects it may name, and reserve memory by claiming sizes.

Objects are first read as inert records (`pickle_records`) and turned into arrays when the whole file has been read.
"""

import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from ..errors import InputError, brief, one_line
from .pickle_records import MOST_BYTES, Global, Record, Refused, plain_value, reduce_global

_LARGEST_FILE = 64 * 2**20  # MANO is 4 MB, an HO3D meta 10 kB
_MOST_OPCODES = 200_000  # MANO has 500, transform.pkl 1,500
_MOST_BITS, _LARGEST_KEY = 512, 2**32
_MARK = object()
_NUMBERS = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT")
_BYTES = ("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8")
_TEXT = ("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8")
_PUSH = frozenset((*_NUMBERS, *_BYTES, *_TEXT))
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
    "MARK": lambda: _MARK,
}


def safe_load(path: str | Path) -> Any:
    """The plain data in the pickle at `path`: dicts, lists, strings, numbers, numpy arrays, scipy sparse matrices.

    Reads Python-2 and Python-3 pickles of every protocol; strings of Python 2 are read as latin-1. chumpy's arrays come
    back as plain numpy arrays. Anything that names another class or function is refused by that name, and nothing of
    the file is run. Raises InputError for that, and for a missing, truncated, damaged or oversized file.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > _LARGEST_FILE:
            raise InputError(
                f"{path}: expected a pickle below {_LARGEST_FILE >> 20} MB, found {size >> 20} MB; wrong file?"
            )
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error
    try:
        return plain_value(Machine().run(content))
    except Refused as refusal:
        raise InputError(
            f"{path}: refused: {refusal}; only numpy, scipy.sparse and chumpy arrays are read and nothing was run; "
            "get the file again from its original source"
        ) from refusal
    except (ValueError, TypeError, LookupError, OverflowError, MemoryError, RecursionError) as error:
        detail = one_line(error, 160)
        raise InputError(
            f"{path}: not a readable pickle ({type(error).__name__}: {detail}); it is damaged, incomplete or another "
            "format: get the file again from its original source"
        ) from error


class Machine:
    """The stack, the memo and one method per opcode that does more than push a constant."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.copied = 0  # bytes and entries made from what the memo holds, which a few opcodes could repeat for ever

    def run(self, content: bytes | IO[bytes]) -> Any:
        """Execute the opcodes of `content`, or of a file from where it stands, up to STOP; return what lies on top.

        ValueError when it ends early.
        """
        for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
            name = opcode.name
            if count > _MOST_OPCODES:
                raise ValueError(f"more than {_MOST_OPCODES} opcodes")
            if name in _PUSH:
                if isinstance(argument, int) and argument.bit_length() > _MOST_BITS:
                    raise ValueError(f"a number of more than {_MOST_BITS} bits")
                self.stack.append(argument)
            elif name in _CONSTANTS:
                self.stack.append(_CONSTANTS[name]())
            elif name == "STOP":
                return self._pop()
            elif name not in ("PROTO", "FRAME"):
                action = getattr(self, f"_{name.lower()}", None)
                if action is None:
                    raise Refused(f"it uses the pickle opcode {name}")
                if opcode.arg is None:
                    action()
                else:
                    action(argument)
        raise ValueError("the file ends before its STOP opcode")

    def _pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise ValueError("a mark where a value belongs")
        return value

    def _top(self, kind: type) -> Any:
        """The container below the arguments: exactly of this kind, so that nothing else is ever written to."""
        value = self.stack[-1]
        if type(value) is not kind:
            raise ValueError(f"expected a {kind.__name__} to fill, found {type(value).__name__}")
        return value

    def _pop_to_mark(self) -> list[Any]:
        for position in range(len(self.stack) - 1, -1, -1):
            if self.stack[position] is _MARK:
                values = self.stack[position + 1 :]
                del self.stack[position:]
                return values
        raise ValueError("no mark on the stack")

    # Stack and memo. GET's argument is a number already; an unknown one raises KeyError.
    def _pop_mark(self) -> None:
        self._pop_to_mark()

    def _dup(self) -> None:
        self.stack.append(self.stack[-1])

    def _get(self, index: int) -> None:
        self.stack.append(self.memo[index])

    def _put(self, index: int) -> None:
        if self.stack[-1] is _MARK:
            raise ValueError("a mark where a value belongs")
        if not 0 <= index < 2**24:
            raise ValueError(f"the memo index {brief(index)}")
        self.memo[index] = self.stack[-1]

    def _memoize(self) -> None:
        self._put(len(self.memo))

    _binget = _long_binget = _get
    _binput = _long_binput = _put

    # Containers.
    def _tuple(self) -> None:
        self.stack.append(tuple(self._pop_to_mark()))

    def _tuple_of(self, length: int) -> None:
        values = tuple(self._pop() for _ in range(length))
        self.stack.append(values[::-1])

    def _tuple1(self) -> None:
        self._tuple_of(1)

    def _tuple2(self) -> None:
        self._tuple_of(2)

    def _tuple3(self) -> None:
        self._tuple_of(3)

    def _list(self) -> None:
        self.stack.append(self._pop_to_mark())

    def _dict(self) -> None:
        self.stack.append(_pairs(self._pop_to_mark()))

    def _frozenset(self) -> None:
        self.stack.append(frozenset(_members(self._pop_to_mark())))

    def _append(self) -> None:
        value = self._pop()
        self._top(list).append(value)

    def _appends(self) -> None:
        values = self._pop_to_mark()
        self._top(list).extend(values)

    def _additems(self) -> None:
        values = self._pop_to_mark()
        self._top(set).update(_members(values))

    def _setitem(self) -> None:
        value, key = self._pop(), self._pop()
        self._top(dict).update(_pairs([key, value]))

    def _setitems(self) -> None:
        pairs = _pairs(self._pop_to_mark())
        self._top(dict).update(pairs)

    # Names, calls and states: the three opcodes that make pickles dangerous.
    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self.stack.append(Global.named(module, name))

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise ValueError("a class name that is no string")
        self.stack.append(Global.named(module, name))

    def _reduce(self) -> None:
        arguments, function = self._pop(), self._pop()
        made = reduce_global(function, arguments)
        if isinstance(made, set):
            _members(made)
        if isinstance(made, set | bytes):
            self.copied += len(made)
            if self.copied > MOST_BYTES:
                raise ValueError(f"more than {MOST_BYTES >> 20} MB when written out")
        self.stack.append(made)

    def _newobj(self) -> None:
        arguments, kind = self._pop(), self._pop()
        if not isinstance(kind, Global):
            raise Refused(f"it makes an object of a {type(kind).__name__}")
        self.stack.append(kind.new(arguments))

    def _inst(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self.stack.append(Global.named(module, name).new(tuple(self._pop_to_mark())))

    def _obj(self) -> None:
        kind, *arguments = self._pop_to_mark()
        if not isinstance(kind, Global):
            raise Refused(f"it makes an object of a {type(kind).__name__}")
        self.stack.append(kind.new(tuple(arguments)))

    def _build(self) -> None:
        state, target = self._pop(), self.stack[-1]
        if not isinstance(target, Record):
            raise Refused(f"it sets the state of a {getattr(target, 'label', type(target).__name__)}")
        target.set_state(state)


def _pairs(values: list[Any]) -> dict[Any, Any]:
    if len(values) % 2:
        raise ValueError("a dictionary with a key but no value")
    return dict(zip(_members(values[::2]), values[1::2], strict=True))


def _members(values: Any) -> Any:
    """The same values, if they may be keys and members of sets: text, bytes and small numbers.

    Others can be made so that finding one among them takes for ever, or that their hash descends without end.
    """
    for value in values:
        small = isinstance(value, int) and -_LARGEST_KEY < value < _LARGEST_KEY
        if not (small or value is None or isinstance(value, str | bytes)):
            raise ValueError(f"a key that is neither text nor a small number but {brief(type(value).__name__)}")
    return values
