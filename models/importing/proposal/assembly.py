"""A chain and one answer to each question become the layers of a spec."""

from __future__ import annotations

from typing import Any

from models.importing.proposal.blocks import is_list, missing_between
from models.importing.proposal.chain import Chain, Step
from models.importing.proposal.geometry import Move, Plan

WEIGHTED = ("linear", "conv", "conv_transpose")


class Assembly:
    """Layers of a spec, and the names of their tensors: ours -> theirs."""

    def __init__(self, chain: Chain, plan: Plan | None, answers: dict[str, Any]) -> None:
        self.layers: list[Any] = []
        self.names: dict[str, str] = {}
        self._steps = chain.steps
        self._moves = list(plan.moves) if plan else []
        self._answers = answers
        self._norms = 0
        blocks = [step.block for step in chain.steps if step.block is not None]
        self._is_list = is_list(blocks)
        for place, step in enumerate(self._steps):
            self._add(step)
            if self._ends_group(place):
                self._activate(place)
        ending = answers["output"][0]
        if ending is not None:
            self.layers.append(ending)

    def _add(self, step: Step) -> None:
        layer = self._layer(step)
        if step.block is not None:
            self.names[f"layers.{len(self.layers)}"] = step.block.name
        self.layers.append(layer)

    def _layer(self, step: Step) -> Any:
        if step.word == "reshape":
            return {"type": "reshape", "shape": list(step.shape)}
        if step.word == "pixel_shuffle":
            return {"type": "pixel_shuffle", "factor": step.shape[0]}
        if step.word in WEIGHTED:
            return self._weighted(step)
        if step.word == "batch_norm":
            return self._batch_norm(step)
        if step.word == "prelu":
            many = step.block is not None and step.block.size > 1
            return {"type": "prelu", "per_channel": True} if many else "prelu"
        return self._answers["norm"]

    def _weighted(self, step: Step) -> dict[str, Any]:
        layer: dict[str, Any] = {"type": step.word, "out": step.out}
        if step.word != "linear":
            move = self._moves.pop(0)
            if move.upsample > 1:
                self.layers.append({"type": "upsample", "scale": move.upsample})
            layer["kernel"] = step.kernel
            layer |= _moved(move)
        if step.block is not None and step.block.bias is None:
            layer["bias"] = False
        return layer

    def _batch_norm(self, step: Step) -> Any:
        first, others = self._answers.get("eps", (1e-5, 1e-5))
        eps = others if self._norms else first
        self._norms += 1
        affine = step.block is None or bool(step.block.weight)
        if eps == 1e-5 and affine:
            return "batch_norm"
        return (
            {"type": "batch_norm"}
            | ({"eps": eps} if eps != 1e-5 else {})
            | ({} if affine else {"affine": False})
        )

    def _ends_group(self, place: int) -> bool:
        """Whether the next step with weights, if there is one, is not this layer's norm."""
        rest = [step.word for step in self._steps[place + 1 :]]
        here = self._steps[place].word
        if here in ("reshape", "pixel_shuffle", "prelu") or not any(w in WEIGHTED for w in rest):
            return False
        ahead = next(word for word in rest if word not in ("reshape", "pixel_shuffle"))
        return ahead in WEIGHTED

    def _activate(self, place: int) -> None:
        """An activation, unless the numbers in the names leave no room for one."""
        here = self._steps[place].block
        ahead = next(s for s in self._steps[place + 1 :] if s.word in WEIGHTED)
        skipped = None
        if here is not None and ahead.block is not None and not self._is_list:
            skipped = missing_between(here.name, ahead.block.name)
        if skipped is not None and skipped - self._inserted(place, ahead) < 1:
            return
        self.layers.append(self._answers["activation"])

    def _inserted(self, place: int, ahead: Step) -> int:
        """Layers without weights that are known to lie before the next one with weights."""
        between = self._steps[place + 1 : self._steps.index(ahead)]
        grown = ahead.word == "conv" and self._moves and self._moves[0].upsample > 1
        return int(bool(grown)) + sum(step.word == "pixel_shuffle" for step in between)


def _moved(move: Move) -> dict[str, int]:
    fields = {
        "stride": (move.stride, 1),
        "padding": (move.padding, 0),
        "output_padding": (move.output_padding, 0),
    }
    return {name: value for name, (value, usual) in fields.items() if value != usual}
