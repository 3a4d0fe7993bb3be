"""What a pickle says, without unpickling it: its opcodes move plain values about.

A pickle is a program for a stack machine (https://docs.python.org/3/library/pickletools.html).
Python's own machine imports and calls whatever the program names. This one knows no import and no
call: a name is a value (`Global`), and a call is looked up in the table of `globals`, whose
functions only rearrange their arguments. Nothing recurses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from models.importing.errors import Kind, UnsupportedCheckpointError
from models.importing.globals import call, named
from models.importing.values import Global, Opaque

Persistent = Callable[[Any], Any]
LITERALS: Final = frozenset(
    {
        "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
        "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE",
        "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
    }
)  # fmt: skip
CONSTANTS: Final[dict[str, Any]] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
FIXED_TUPLES: Final = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
IGNORED: Final = frozenset({"PROTO", "FRAME", "READONLY_BUFFER"})
SCALARS: Final = (str, int, float, bytes, type(None))


class Machine:
    """Stack, marks and memo of one pickle."""

    def __init__(self, persistent: Persistent | None) -> None:
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.persistent = persistent

    def step(self, name: str, argument: Any) -> None:
        """One opcode."""
        if name in LITERALS:
            self.push(argument)
        elif name in STEPS_OF:
            STEPS_OF[name](self, argument)
        elif name in CONSTANTS:
            self.push(CONSTANTS[name])
        elif name in FIXED_TUPLES:
            count = FIXED_TUPLES[name]
            taken = [self.pop() for _ in range(count)]
            self.push(tuple(reversed(taken)))
        elif name not in IGNORED:
            raise UnsupportedCheckpointError(Kind.UNSAFE_PICKLE, f"its pickle uses {name}")

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        return self.stack.pop()

    def pop_mark(self) -> list[Any]:
        """What lies above the last mark."""
        items, self.stack = self.stack, self.below.pop()
        return items

    def mark(self, _: Any) -> None:
        self.below.append(self.stack)
        self.stack = []

    def put(self, index: Any) -> None:
        self.memo[len(self.memo) if index is None else index] = self.stack[-1]

    def get(self, index: Any) -> None:
        self.push(self.memo[index])

    def discard(self, _: Any) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.pop_mark()

    def discard_marked(self, _: Any) -> None:
        self.pop_mark()

    def duplicate(self, _: Any) -> None:
        self.push(self.stack[-1])

    def append(self, _: Any) -> None:
        self.extend([self.pop()])

    def appends(self, _: Any) -> None:
        self.extend(self.pop_mark())

    def extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif not isinstance(target, Opaque):
            raise ValueError("items for what is no list")

    def set_item(self, _: Any) -> None:
        value = self.pop()
        self.update([self.pop(), value])

    def set_items(self, _: Any) -> None:
        self.update(self.pop_mark())

    def update(self, items: list[Any]) -> None:
        """Keys are scalars: to hash tuples of tuples can take for ever."""
        target = self.stack[-1]
        if isinstance(target, Opaque):
            return
        if not isinstance(target, dict) or len(items) % 2:
            raise ValueError("items for what is no dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if isinstance(key, SCALARS):
                target[key] = value

    def new_dict(self, _: Any) -> None:
        items = self.pop_mark()
        self.push({})
        self.update(items)

    def new_set(self, _: Any) -> None:
        self.push(Opaque("builtins.set"))

    def frozen_set(self, _: Any) -> None:
        self.pop_mark()
        self.new_set(None)

    def name(self, argument: Any) -> None:
        module, _, name = argument.partition(" ")
        self.push(named(module, name))

    def stack_name(self, _: Any) -> None:
        name, module = self.pop(), self.pop()
        self.push(named(module, name))

    def reduce(self, _: Any) -> None:
        arguments, function = self.pop(), self.pop()
        self.push(call(function, arguments))

    def reduce_with_keywords(self, _: Any) -> None:
        self.pop()
        self.reduce(None)

    def instance(self, argument: Any) -> None:
        module, _, name = argument.partition(" ")
        arguments = tuple(self.pop_mark())
        self.push(call(named(module, name), arguments))

    def build_object(self, _: Any) -> None:
        function, *arguments = self.pop_mark()
        self.push(call(function, tuple(arguments)))

    def build(self, _: Any) -> None:
        """Attributes of an object: no tensor is one, so they are passed over."""
        self.pop()
        if isinstance(self.stack[-1], Global):
            raise ValueError("attributes for a name")

    def persist(self, argument: Any) -> None:
        self.resolve(argument)

    def persist_from_stack(self, _: Any) -> None:
        self.resolve(self.pop())

    def resolve(self, identifier: Any) -> None:
        if self.persistent is None:
            raise UnsupportedCheckpointError(Kind.PLAIN_PICKLE, "it refers to other files")
        self.push(self.persistent(identifier))


STEPS_OF: Final[dict[str, Callable[[Machine, Any], None]]] = {
    "MARK": Machine.mark,
    "POP": Machine.discard,
    "POP_MARK": Machine.discard_marked,
    "DUP": Machine.duplicate,
    "PUT": Machine.put,
    "BINPUT": Machine.put,
    "LONG_BINPUT": Machine.put,
    "MEMOIZE": Machine.put,
    "GET": Machine.get,
    "BINGET": Machine.get,
    "LONG_BINGET": Machine.get,
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "LIST": lambda machine, _: machine.push(machine.pop_mark()),
    "APPEND": Machine.append,
    "APPENDS": Machine.appends,
    "TUPLE": lambda machine, _: machine.push(tuple(machine.pop_mark())),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "DICT": Machine.new_dict,
    "SETITEM": Machine.set_item,
    "SETITEMS": Machine.set_items,
    "EMPTY_SET": Machine.new_set,
    "ADDITEMS": Machine.discard_marked,
    "FROZENSET": Machine.frozen_set,
    "GLOBAL": Machine.name,
    "STACK_GLOBAL": Machine.stack_name,
    "REDUCE": Machine.reduce,
    "NEWOBJ": Machine.reduce,
    "NEWOBJ_EX": Machine.reduce_with_keywords,
    "INST": Machine.instance,
    "OBJ": Machine.build_object,
    "BUILD": Machine.build,
    "PERSID": Machine.persist,
    "BINPERSID": Machine.persist_from_stack,
}
"""Opcode → what it does. What is in no table (EXT1, NEXT_BUFFER, …) is refused."""
