"""Which tensor of a file is which of ours: decided by names and order, checked by shapes.

Works on tables of names, types and shapes, before any tensor is read. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from models.declared.folding import FLOATS, Available, Found, Source, fold, parts_misfit
from models.declared.import_spec import TensorRules
from models.declared.nodes import Slot
from models.declared.ordering import layers_of, pair
from models.declared.patterns import expand, matches, natural
from models.declared.shapes import Shape
from models.errors import TensorMatchError


def match_tensors(
    wanted: Mapping[str, Slot], found: Mapping[str, Found], rules: TensorRules
) -> dict[str, Source]:
    """A source for each tensor that is wanted.

    wanted: as `trace` gives it, in the order of the network.
    found: the tensors of the file, in its order.
    Raises TensorMatchError that names what is missing, left over, of another shape or type, or
    claimed twice.
    """
    match = _Match(wanted, found, rules)
    match.take_named()
    match.take_in_order()
    match.check_nothing_left()
    return match.sources()


class _Match:
    """What has been decided up to here. chosen: ours -> theirs."""

    def __init__(
        self, wanted: Mapping[str, Slot], found: Mapping[str, Found], rules: TensorRules
    ) -> None:
        self._wanted, self._rules = wanted, rules
        kept = {name: each for name, each in found.items() if not _ignored(name, rules)}
        self._offered = {
            name: each
            for name, each in fold(kept).items()
            if name in kept or not _ignored(name, rules)
        }
        self._chosen: dict[str, str] = {}
        self._claimed: dict[str, str] = {}
        self._zero: set[str] = set()
        self._wrong: list[str] = []

    def _open(self) -> dict[str, Slot]:
        return {
            name: slot
            for name, slot in self._wanted.items()
            if name not in self._chosen and name not in self._zero
        }

    def _left(self) -> dict[str, Available]:
        return {name: each for name, each in self._offered.items() if name not in self._claimed}

    def take_named(self) -> None:
        """What the rules name; all, when the file uses our names."""
        plain, numbered = expand(self._rules.names)
        for name in self._wanted:
            theirs = _renamed(name, plain) or _renamed_once(name, numbered)
            if theirs is not None:
                self._take(name, theirs)
        self._stop_if_wrong()
        open_ = self._open()
        if all(self._is_ours(name, slot) for name, slot in open_.items()):
            for name in open_:
                self._take(name, name)

    def _is_ours(self, name: str, slot: Slot) -> bool:
        each = self._offered.get(name)
        return slot.integer if each is None else not _misfit(slot, each)

    def take_in_order(self) -> None:
        """Layer by layer, what no name has decided."""
        if self._rules.order == "none":
            return
        names = list(self._left())
        if self._rules.order == "natural":
            names.sort(key=natural)
        ours = layers_of(*_shapes(self._open()))
        theirs = layers_of(*_shapes({name: self._offered[name] for name in names}))
        for mine, their in pair(ours, theirs):
            for word, name in mine.words.items():
                self._take(name, their.words.get(word, f"{their.name}.{word}"))
        self._stop_if_wrong()

    def _take(self, name: str, theirs: str) -> None:
        slot, each = self._wanted[name], self._offered.get(theirs)
        if each is None:
            self._miss(name, theirs, slot)
        elif "parametrizations." in theirs:
            self._wrong.append(f"{name}, taken from {theirs}" + _HINTS["parts"])
        elif theirs in self._claimed:
            self._wrong.append(
                f"{theirs} is claimed twice, for {self._claimed[theirs]} and for {name}"
            )
        elif problem := _misfit(slot, each):
            self._wrong.append(f"{name}, taken from {theirs}: {problem}")
        else:
            self._claimed[theirs], self._chosen[name] = name, theirs

    def _miss(self, name: str, theirs: str, slot: Slot) -> None:
        if slot.integer:
            self._zero.add(name)  # only training counts batches, and old files do not
            return
        problem = f"{name} {list(slot.shape)} is missing: the file has no {theirs}"
        layer, dot, word = theirs.rpartition(".")
        starts = (f"{theirs}_", f"{layer}{dot}parametrizations.{word}.")
        said = len(self._wrong) < TensorMatchError.NAMED
        if "parametrizations." in theirs or (
            said and any(other.startswith(starts) for other in self._offered)
        ):
            word = "parts"
        self._wrong.append(problem + _HINTS.get(word, ""))

    def check_nothing_left(self) -> None:
        """Every tensor of ours has a source, and every one of theirs a place or is ignored."""
        for name, slot in self._open().items():
            self._miss(name, name, slot)
        for name, each in self._left().items():
            self._wrong.append(f"{name} {list(each.shape)} of the file has no place" + _left(name))
        self._stop_if_wrong()

    def sources(self) -> dict[str, Source]:
        """The result, in the order of the network."""
        return {name: self._source(name, slot) for name, slot in self._wanted.items()}

    def _source(self, name: str, slot: Slot) -> Source:
        if name in self._zero:
            return Source("zero")
        source = self._offered[self._chosen[name]].source
        if source.kind != "spectral_norm":
            return source
        return source._replace(axis=_axis(slot))

    def _stop_if_wrong(self) -> None:
        if self._wrong:
            raise TensorMatchError(self._wrong)


_HINTS = {
    "bias": '; if the layer has none, say "bias": false',
    "running_mean": "; a norm without running statistics would make images depend on the others "
    "of their batch, so it can't be served",
    "parts": "; the weight is stored in parts that are not known here: call "
    "torch.nn.utils.parametrize.remove_parametrizations (or remove_spectral_norm) and save the "
    "state dict again",
}


def _left(name: str) -> str:
    if "parametrizations." in name or name.endswith(("_orig", "_u", "_v", "_g", "_bar")):
        return _HINTS["parts"]
    return '; name it under "ignore" if the generator does not need it'


def _ignored(name: str, rules: TensorRules) -> bool:
    return any(matches(name, pattern) for pattern in rules.ignore)


def _renamed(name: str, rules: Mapping[str, str]) -> str | None:
    """Theirs, by the longest rule that names this tensor or what it lies in."""
    for ours, rest in _splits(name):
        if ours in rules:
            return _with(rules[ours], rest)
    return None


def _renamed_once(name: str, rules: Mapping[str, list[str]]) -> str | None:
    """Theirs, by rules with a number, which must not contradict one another."""
    theirs = {_with(each, rest) for ours, rest in _splits(name) for each in rules.get(ours, ())}
    if len(theirs) > 1:
        said = " and ".join(sorted(theirs))
        raise TensorMatchError([f"{name}: names with numbers give it {said}"])
    return next(iter(theirs), None)


def _splits(name: str) -> Iterator[tuple[str, str]]:
    """a.b.c -> (a.b.c, ""), (a.b, c), (a, b.c)."""
    pieces = name.split(".")
    for length in range(len(pieces), 0, -1):
        yield ".".join(pieces[:length]), ".".join(pieces[length:])


def _with(theirs: str, rest: str) -> str:
    return f"{theirs}.{rest}" if theirs and rest else theirs or rest


def _shapes(tensors: Mapping[str, Slot | Available]) -> tuple[dict[str, Shape], list[str]]:
    """Shapes, and which are no numbers that a layer computes with."""
    counters = [
        name
        for name, each in tensors.items()
        if (each.integer if isinstance(each, Slot) else each.dtype not in FLOATS)
    ]
    return {name: each.shape for name, each in tensors.items()}, counters


def _misfit(slot: Slot, each: Available) -> str:
    if each.shape != slot.shape:
        swapped = (*each.shape[1::-1], *each.shape[2:])
        hint = "; with its first axes swapped it would: is it a conv, or a conv_transpose?"
        said = f"shape {list(each.shape)} found, {list(slot.shape)} wanted"
        return said + (hint if len(slot.shape) == 4 and swapped == slot.shape else "")
    if slot.integer != (each.dtype not in FLOATS) or (slot.integer and each.dtype != "I64"):
        accepted = "I64" if slot.integer else ", ".join(sorted(FLOATS))
        return f"type {each.dtype} found, one of {accepted} wanted"
    return parts_misfit(each, _axis(slot))


def _axis(slot: Slot) -> int:
    """Spectral norm flattens a transposed convolution around its second axis, as torch does."""
    return 1 if slot.transposed else 0
