"""A YAML file as plain values, and where in the file each of them stands.

The values are those of the YAML 1.2 core schema: `no` and `on` are words, `010` is ten, `1_000` is
text. A key is always text, so that a class may be called `no` or `7`. What makes a file mean
something else than it seems to is refused: tags, anchors and aliases, the same key twice, several
documents.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from app.recipes.problems import Complaint, Mark, RecipeError

MAX_BYTES = 1 << 18
DEEPEST = 30

Path = tuple[str | int, ...]

_INTEGER = re.compile(r"[-+]?[0-9]{1,300}")
_BASED = re.compile(r"0o[0-7]{1,300}|0x[0-9a-fA-F]{1,300}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}


@dataclass
class Document:
    """The value of a file, and the marks of its parts by their paths."""

    name: str
    value: Any = None
    values: dict[Path, Mark] = field(default_factory=dict)
    keys: dict[Path, Mark] = field(default_factory=dict)

    def mark_of(self, path: Sequence[str | int], key: bool = False) -> Mark:
        """Where the value at a path stands, or its key; of an absent one, what it would be in."""
        steps = tuple(path)
        if key and steps in self.keys:
            return self.keys[steps]
        while steps not in self.values and steps:
            steps = steps[:-1]
        return self.values.get(steps, Mark(1, 1))

    def complaint(self, path: Sequence[str | int], sentence: str) -> RecipeError:
        """The error of one thing that is wrong at a path."""
        return RecipeError(self.name, [Complaint(self.mark_of(path), sentence)])


def read_document(content: bytes, name: str) -> Document:
    """The values of a file. Raises RecipeError."""
    if len(content) > MAX_BYTES:
        _refuse(name, Mark(1, 1), f"the file has {len(content):,} bytes; at most {MAX_BYTES:,}")
    document = Document(name)
    try:
        root = _Loader(content, name).get_single_node()
    except yaml.MarkedYAMLError as error:
        _refuse(name, _mark(error.problem_mark or error.context_mark), _sentence(error))
    except yaml.YAMLError as error:  # bytes that are no text
        _refuse(name, Mark(1, 1), f"the file is no UTF-8 text that YAML can hold: {error}")
    if not isinstance(root, MappingNode):
        _refuse(name, Mark(1, 1), 'a recipe has fields like "model: fashion-cgan", one a line')
    document.value = _Reading(document).value_of(root, ())
    return document


class _Loader(yaml.SafeLoader):
    """Nodes without meaning: what a plain word is, is decided by `_Reading`."""

    yaml_implicit_resolvers: dict[str, Any] = {}

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name
        self._depth = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        mark = _mark(event.start_mark)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            _refuse(self.name, mark, "anchors and aliases are not allowed; write the value out")
        if getattr(event, "tag", None) is not None:
            _refuse(self.name, mark, f"the tag {event.tag[:60]} is not allowed; leave it out")
        if self._depth >= DEEPEST:
            _refuse(self.name, mark, f"values lie in one another more than {DEEPEST} deep")
        self._depth += 1
        node: Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Reading:
    """From nodes to values, noting where each stands."""

    def __init__(self, document: Document) -> None:
        self._document = document

    def value_of(self, node: Node, path: Path) -> Any:
        self._document.values[path] = _mark(node.start_mark)
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode):
            return [self.value_of(item, (*path, n)) for n, item in enumerate(node.value)]
        assert isinstance(node, ScalarNode)
        return _plain(node.value) if node.style is None else node.value

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, item in node.value:
            mark = _mark(key.start_mark)
            if not isinstance(key, ScalarNode):
                _refuse(self._document.name, mark, "a key is a word or a text in quotes")
            name = key.value
            if name in found:
                first = self._document.keys[(*path, name)].line
                sentence = f'"{name[:80]}" is given twice, first in line {first}; keep one of them'
                _refuse(self._document.name, mark, sentence)
            self._document.keys[(*path, name)] = mark
            found[name] = self.value_of(item, (*path, name))
        return found


def _plain(text: str) -> Any:
    """What a word without quotes is."""
    if text in _WORDS:
        return _WORDS[text]
    kinds: tuple[tuple[re.Pattern[str], Callable[[str], Any]], ...] = (
        (_INTEGER, int),
        (_BASED, lambda digits: int(digits, 0)),
        (_FLOAT, float),
    )
    return next((read(text) for kind, read in kinds if kind.fullmatch(text)), text)


def _mark(mark: Any) -> Mark:
    return Mark(1, 1) if mark is None else Mark(mark.line + 1, mark.column + 1)


def _sentence(error: yaml.MarkedYAMLError) -> str:
    said = " ".join(part for part in (error.context, error.problem) if part)
    return f"this is not YAML: {said}. Indent with spaces, and put odd texts into quotes."


def _refuse(name: str, mark: Mark, sentence: str) -> NoReturn:
    raise RecipeError(name, [Complaint(mark, sentence)])
