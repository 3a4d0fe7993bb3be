"""Which tensor of a file becomes which of ours; names suggest, shapes decide."""

from __future__ import annotations

import io

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load as load_tensors
from safetensors.torch import save as dump_tensors
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

from models.declared.folding import Found
from models.declared.import_spec import TensorRules
from models.declared.mapping import match_tensors
from models.declared.nodes import Slot
from models.declared.patterns import matches, natural
from models.declared.remap import remap, tensors_of
from models.errors import CheckpointError, SpecError, TensorMatchError

WANTED = {
    "inputs.0.weight": Slot((10, 4)),
    "layers.0.weight": Slot((6, 5)),
    "layers.0.bias": Slot((6,)),
    "layers.2.weight": Slot((6,)),
    "layers.2.bias": Slot((6,)),
    "layers.2.running_mean": Slot((6,)),
    "layers.2.running_var": Slot((6,)),
    "layers.2.num_batches_tracked": Slot((), integer=True),
    "layers.4.weight": Slot((6, 3, 2, 2), transposed=True),
}
THEIRS = {
    "emb.weight": Found("F32", (10, 4)),
    "l1.0.weight": Found("F32", (6, 5)),
    "l1.0.bias": Found("F32", (6,)),
    "main.0.weight": Found("F32", (6,)),
    "main.0.bias": Found("F32", (6,)),
    "main.0.running_mean": Found("F32", (6,)),
    "main.0.running_var": Found("F32", (6,)),
    "main.0.num_batches_tracked": Found("I64", ()),
    "main.2.weight": Found("F16", (6, 3, 2, 2)),
}
NAMES = {"inputs.0": "emb", "layers.0": "l1.0", "layers.{n+2}": "main.{n}"}
EXPECTED = dict(zip(WANTED, THEIRS, strict=True))


def matched(found=THEIRS, wanted=WANTED, **rules) -> dict[str, str]:
    sources = match_tensors(wanted, found, TensorRules.model_validate(rules))
    assert list(sources) == list(wanted)
    return {name: source.names[0] if source.names else "" for name, source in sources.items()}


def without(*names: str) -> dict[str, Found]:
    return {name: found for name, found in THEIRS.items() if name not in names}


@pytest.mark.parametrize(
    "rules",
    [
        {"names": NAMES},
        {"names": NAMES, "order": "none"},
        {},
        {"order": "file"},
        {"names": {"layers.{2n+2}": "main.{2n}"}},
        {"names": {"inputs.0.weight": "emb.weight"}},
    ],
)
def test_names_numbers_and_order_come_to_the_same(rules):
    assert matched(**rules) == EXPECTED


def test_our_own_names_need_no_rules():
    """In any order, as in a file that was exported here."""
    ours = {name: THEIRS[EXPECTED[name]] for name in reversed(WANTED)}
    assert matched(ours, order="none") == {name: name for name in WANTED}


def test_natural_order_counts():
    wanted = {f"layers.{n}.weight": Slot((3,)) for n in range(12)}
    found = {f"net.{n}.weight": Found("F32", (3,)) for n in sorted(range(12), key=str)}
    assert matched(found, wanted, order="natural")["layers.2.weight"] == "net.2.weight"
    assert matched(found, wanted, order="file")["layers.2.weight"] == "net.10.weight"


def test_within_a_layer_names_decide_not_the_order():
    """Files written by safetensors sort: bias before weight, running_mean before running_var."""
    found = dict(sorted(THEIRS.items(), key=lambda item: (item[0].split(".")[0], item[0])))
    assert matched(found, names={"inputs.0": "emb"}) == EXPECTED


def test_shapes_that_only_one_layer_has_need_no_order():
    """As in a file of safetensors, whose names are sorted."""
    assert matched(dict(sorted(THEIRS.items(), reverse=True))) == EXPECTED


def test_layers_that_could_be_either_are_not_guessed():
    """Two of one shape, in a file whose order is not that of the network."""
    wanted = {"layers.0.weight": Slot((3, 2)), "layers.1.weight": Slot((2, 2)),
              "layers.2.weight": Slot((2, 2))}  # fmt: skip
    found = {"b.10.weight": Found("F32", (2, 2)), "b.9.weight": Found("F32", (2, 2)),
             "a.weight": Found("F32", (3, 2))}  # fmt: skip
    with pytest.raises(
        TensorMatchError, match=r"layers\.1 and layers\.2: wanted .* b\.10 and b\.9"
    ):
        matched(found, wanted)
    assert matched(found, wanted, order="natural")["layers.1.weight"] == "b.9.weight"
    named = matched(found, wanted, names={"layers.1": "b.10"})
    assert named["layers.2.weight"] == "b.9.weight"
    with pytest.raises(TensorMatchError, match="say which is which"):
        matched(found | {"c.weight": Found("F32", (2, 2))}, wanted, names={"layers.1": "b.10"})


def test_counters_may_be_absent_in_old_files():
    found = without("main.0.num_batches_tracked")
    for rules in ({}, {"names": NAMES}):
        assert matched(found, **rules) == EXPECTED | {"layers.2.num_batches_tracked": ""}


def test_a_lone_parameter_stands_for_a_layer():
    found = {"label_emb": THEIRS["emb.weight"]} | without("emb.weight")
    assert matched(found)["inputs.0.weight"] == "label_emb"
    assert matched(found, names={"inputs.0.weight": "label_emb"})["inputs.0.weight"] == "label_emb"


def test_all_below_a_prefix_can_be_named_at_once():
    wanted = {"layers.0.weight": Slot((3,)), "layers.1.weight": Slot((3,))}
    found = {"1.weight": Found("F32", (3,)), "0.weight": Found("F32", (3,))}
    assert matched(found, wanted, names={"layers": ""})["layers.0.weight"] == "0.weight"


EXTRA = {"enc.0.weight": Found("F32", (9, 9)), "enc.10.bias": Found("I32", (9,))}


@pytest.mark.parametrize("names", [{}, NAMES])
def test_what_is_ignored_is_named(names):
    assert matched(EXTRA | THEIRS, names=names, ignore=["enc.*"]) == EXPECTED
    assert matched(EXTRA | THEIRS, names=names, ignore=["enc.0.*", "*.10.*"]) == EXPECTED


def reshaped(name: str, shape: tuple[int, ...], dtype: str = "F32") -> dict[str, Found]:
    return THEIRS | {name: Found(dtype, shape)}


@pytest.mark.parametrize(
    ("found", "rules", "sentence"),
    [
        (EXTRA | THEIRS, {"names": NAMES},
         r'enc\.0\.weight \[9, 9\] of the file has no place; name it under "ignore"'),
        (EXTRA | THEIRS, {}, r"enc\.0\.weight \[9, 9\] of the file has no place; .*enc\.10"),
        (without("l1.0.weight"), {"names": NAMES},
         r"layers\.0\.weight \[6, 5\] is missing: the file has no l1\.0\.weight"),
        (without("l1.0.bias"), {"names": NAMES}, r'no l1\.0\.bias; .*say "bias": false'),
        (without("l1.0.bias"), {}, r'no l1\.0\.bias; .*say "bias": false'),
        (without("main.0.running_mean"), {}, r"main\.0\.running_mean; a norm without running stat"),
        (without("emb.weight"), {},
         r"inputs\.0: wanted weight \[10, 4\]; of the file nothing is left"),
        (reshaped("l1.0.weight", (6, 7)), {"names": NAMES},
         r"layers\.0\.weight, taken from l1\.0\.weight: shape \[6, 7\] found, \[6, 5\] wanted"),
        (reshaped("l1.0.weight", (6, 7)), {}, r"shape \[6, 7\] found, \[6, 5\] wanted"),
        (reshaped("main.2.weight", (3, 6, 2, 2)), {}, "is it a conv, or a conv_transpose"),
        (reshaped("emb.weight", (10, 4), "I64"), {}, "type I64 found, one of BF16, F16, F32, F64"),
        (reshaped("main.0.num_batches_tracked", (), "F32"), {}, "type F32 found, one of I64"),
        (THEIRS, {"names": NAMES | {"inputs.0": "l1.0"}}, r"inputs\.0\.weight, taken from l1"),
        (THEIRS, {"names": {"layers.2": "main.0", "layers.2.weight": "main.0.bias"}},
         r"main\.0\.bias is claimed twice, for layers\.2\.weight and for layers\.2\.bias"),
        (THEIRS, {"names": {"layers.{n}": "main.{n}", "layers.{n+2}": "main.{n}"}},
         r"layers\.2\.weight: names with numbers give it main\.0\.weight and main\.2\.weight"),
        (THEIRS, {"order": "none"}, r"inputs\.0\.weight .* is missing: the file has no inputs"),
        ({}, {}, "of the file nothing is left"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(found, rules, sentence):
    with pytest.raises(TensorMatchError, match=sentence):
        matched(found, **rules)


def test_the_first_twenty_differences_are_said_and_all_are_kept():
    found = THEIRS | {f"enc.{n}.weight": Found("F32", (1,)) for n in range(50)}
    with pytest.raises(TensorMatchError, match="and 30 more") as caught:
        matched(found, names=NAMES)
    assert len(caught.value.differences) == 50
    assert isinstance(caught.value, CheckpointError)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ({"layers.{n}": "main.0"}, "both need"),
        ({"layers.0": "main.{n}"}, "both need"),
        ({"layers.{m}": "main.{n}"}, "both need"),
        ({"layers.{n*2}": "main.{n}"}, r"\{n\*2\} is no number; write \{n\}"),
        ({"layers.{n": "main.{n}"}, "both need"),
        ({"layers.{nn}": "main.{n}"}, "is no number"),
    ],
)
def test_numbers_in_names_are_of_one_kind(names, sentence):
    with pytest.raises(SpecError, match=sentence):
        matched(names=names)


@given(st.text("a.*", max_size=8), st.text("a.", max_size=8))
def test_a_star_is_any_characters(pattern, name):
    """As fnmatch has it, which knows other signs too; tensor names may hold brackets."""
    from fnmatch import fnmatchcase

    assert matches(name, pattern) == fnmatchcase(name, pattern)
    assert matches("x[0]", "x[0]")
    assert not matches("x0", "x[0]")


def test_natural_keys_compare_whatever_the_names():
    names = ["a.10", "10", "a.2", "", "a", "2.b", "a3"]
    assert sorted(names, key=natural) == ["", "2.b", "10", "a", "a3", "a.2", "a.10"]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("order", ["file", "natural", "none"])
def test_rules_and_files_as_large_as_they_may_be_take_seconds(order):
    """64 rules with numbers, 32 patterns, 20,000 tensors; nothing fits."""
    wanted = {f"layers.{n}.{word}": Slot((n,)) for n in range(512) for word in ("weight", "bias")}
    found = {f"{'a' * 200}.{n}.weight": Found("F32", (3,)) for n in range(20_000)}
    names = {f"layers.{{n+{k}}}.none": f"a{k}.{{n}}" for k in range(64)}
    ignore = [f"*{k}*b*" for k in range(32)]
    with pytest.raises(TensorMatchError):
        matched(found, wanted, names=names, order=order, ignore=ignore)


# Weights stored in parts


def remade(
    state: dict[str, torch.Tensor], wanted: dict[str, Slot], **names: str
) -> dict[str, torch.Tensor]:
    content = dump_tensors({name: tensor.contiguous() for name, tensor in state.items()})
    file = io.BytesIO(content)
    sources = match_tensors(wanted, tensors_of(file, len(content)), TensorRules(names=names))
    return load_tensors(b"".join(remap(file, len(content), sources)))


def conv() -> nn.Module:
    return nn.Conv2d(4, 6, 3)


def square() -> nn.Module:
    return nn.ConvTranspose2d(6, 6, 3)


CHANNELS = (6,)
NORMED = {
    "weight norm, hook": (conv, weight_norm),
    "weight norm, parametrized": (conv, parametrizations.weight_norm),
    "weight norm of a transposed one": (square, parametrizations.weight_norm),
    "weight norm of all at once": (conv, lambda m: parametrizations.weight_norm(m, dim=None)),
    "spectral norm, hook": (conv, spectral_norm),
    "spectral norm, parametrized": (conv, parametrizations.spectral_norm),
    "spectral norm of a transposed one": (square, parametrizations.spectral_norm),
    "spectral norm of a transposed one, hook": (square, spectral_norm),
    "spectral norm of a linear one": (lambda: nn.Linear(5, 3), parametrizations.spectral_norm),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
@pytest.mark.parametrize(("layer", "norm"), NORMED.values(), ids=NORMED.keys())
def test_normed_weights_become_what_torch_computes_with(layer, norm):
    torch.manual_seed(4)
    module = norm(layer())
    inputs = torch.randn(2, 5) if isinstance(module, nn.Linear) else torch.randn(2, *CHANNELS, 9, 9)
    inputs = inputs[:, : getattr(module, "in_channels", 5)]
    for _ in range(3):
        module(inputs)  # spectral norm finds its vectors
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    with torch.no_grad():
        module.eval()(inputs)  # hooks compute the weight on the way
    weight = module.weight.detach()
    transposed = isinstance(module, nn.ConvTranspose2d)
    wanted = {
        "layers.0.weight": Slot(tuple(weight.shape), transposed=transposed),
        "layers.0.bias": Slot(tuple(module.bias.shape)),
    }
    state = {f"net.0.{name}": tensor.detach() for name, tensor in module.state_dict().items()}
    made = remade(state, wanted)
    torch.testing.assert_close(made["layers.0.weight"], weight)
    assert made["layers.0.bias"].equal(module.bias)


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ({"a.weight_orig": (6, 4), "a.weight_u": (6,)}, "remove_spectral_norm"),
        ({"a.weight_bar": (6, 4)}, "remove_spectral_norm"),
        ({"a.weight_orig": (6, 4), "a.weight_u": (5,), "a.weight_v": (4,)},
         r"vectors \[5\] and \[4\] found, \[6\] and \[4\] wanted"),
        ({"a.weight_v": (6, 4), "a.weight_g": (5, 1)}, r"length \[5, 1\] of direction \[6, 4\]"),
        ({"a.parametrizations.weight.original": (6, 4)}, "remove_parametrizations"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("names", [{}, {"layers.0": "a"}])
def test_parts_that_do_not_belong_together_are_refused(state, names, sentence):
    found = {name: Found("F32", shape) for name, shape in state.items()}
    with pytest.raises(TensorMatchError, match=sentence):
        matched(found, {"layers.0.weight": Slot((6, 4))}, names=names)


def test_a_raw_parameter_of_a_parametrization_is_never_taken_for_the_weight():
    name = "a.parametrizations.weight.original"
    with pytest.raises(TensorMatchError, match="remove_parametrizations"):
        matched(
            {name: Found("F32", (6, 4))},
            {"layers.0.weight": Slot((6, 4))},
            names={"layers.0.weight": name},
        )


def test_a_weight_without_length_is_no_weight():
    state = {"a.weight_v": torch.zeros(6, 4), "a.weight_g": torch.ones(6, 1)}
    with pytest.raises(CheckpointError, match=r"layers\.0\.weight is not finite once it is made"):
        remade(state, {"layers.0.weight": Slot((6, 4))})


# The file that is written


def test_types_are_kept_but_float64_and_counters_are_made():
    state = {
        "a.weight": torch.randn(3, dtype=torch.float64), "b.weight": torch.randn(3).half(),
        "c.weight": torch.randn(3).bfloat16(), "d.weight": torch.randn(3),
        "d.num": torch.tensor(7),
    }  # fmt: skip
    wanted = {f"layers.{n}.weight": Slot((3,)) for n in range(4)} | {
        "layers.3.num": Slot((), integer=True),
        "layers.3.num_batches_tracked": Slot((), integer=True),
    }
    letters = {f"layers.{n}": "abcd"[n] for n in range(4)}
    made = remade(state, wanted, **letters)
    assert made["layers.0.weight"].equal(state["a.weight"].float())
    assert made["layers.1.weight"].equal(state["b.weight"])
    assert made["layers.2.weight"].equal(state["c.weight"])
    assert made["layers.3.num"] == 7
    assert made["layers.3.num_batches_tracked"] == 0


def test_equal_tensors_give_equal_bytes():
    content = dump_tensors({"b.weight": torch.ones(3), "a.weight": torch.zeros(3)})
    wanted = {"layers.0.weight": Slot((3,)), "layers.1.weight": Slot((3,))}
    file = io.BytesIO(content)
    found = tensors_of(file, len(content))
    one = match_tensors(wanted, found, TensorRules(names={"layers.0": "a", "layers.1": "b"}))
    two = dict(reversed(one.items()))
    assert list(remap(file, len(content), one)) == list(remap(file, len(content), two))
    assert b"".join(remap(file, len(content), one)) == dump_tensors(
        {"layers.0.weight": torch.zeros(3), "layers.1.weight": torch.ones(3)}
    )


def test_a_file_that_ends_early_is_refused():
    content = dump_tensors({"a.weight": torch.ones(300)})
    sources = match_tensors(
        {"layers.0.weight": Slot((300,))}, {"a.weight": Found("F32", (300,))}, TensorRules()
    )
    with pytest.raises(CheckpointError, match="end early"):
        list(remap(io.BytesIO(content[:-8]), len(content), sources))
