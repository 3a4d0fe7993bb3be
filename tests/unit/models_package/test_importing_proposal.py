"""Networks as people write them, saved by torch: the proposal computes what they compute."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import Tensor, nn

from models.declared.import_spec import ImportSpec
from models.importing.convert import run
from models.importing.evidence import open_declared, settle
from models.importing.proposal.chain import NoProposalError
from models.importing.proposal.propose import Proposal, propose
from models.importing.report import Report
from tests.hostile.building import saved
from tests.written_nets import (
    NETS,
    Net,
    dcgan,
    remembering,
    seven,
    trained,
    unpadded,
    upsampled,
    vae,
)


def opened_sorted(state: dict[str, Tensor]) -> tuple[Report, bytes]:
    """The same through a file of safetensors, which sorts its tensors."""
    content, output = save({name: t.contiguous() for name, t in state.items()}), io.BytesIO()
    report = run(io.BytesIO(content), output, {"size": len(content), "limits": {}})
    return Report.model_validate(report), output.getvalue()


def opened(value: Any) -> tuple[Report, bytes]:
    content, output = saved(value), io.BytesIO()
    report = run(io.BytesIO(content), output, {"size": len(content), "limits": {}})
    return Report.model_validate(report), output.getvalue()


def agree(net: Net, spec: ImportSpec, content: bytes) -> bool:
    made = torch.Generator().manual_seed(3)
    z = torch.randn(4, spec.latent_size, generator=made)
    labels = torch.randint(0, max(1, len(spec.classes)), (4,), generator=made)
    with torch.no_grad():
        found = open_declared(spec, content)(z, labels if spec.classes else None)
        try:
            wanted = net(z, labels)
        except (RuntimeError, IndexError):  # a guess of another latent or more classes
            return False
    return found.numel() == wanted.numel() and torch.allclose(
        found.flatten(), wanted.flatten(), atol=1e-5
    )


@pytest.mark.parametrize("name", NETS)
@torch.no_grad()
def test_one_of_the_first_twelve_computes_the_same(name: str) -> None:
    torch.manual_seed(1)
    make, classes = NETS[name]
    net = trained(make())
    report, content = opened(net.state_dict())
    proposal = propose(report, "net")
    right = [one for one in proposal.tries() if agree(net, one.spec, content)]
    assert right, [unknown.candidates for unknown in proposal.unknowns]
    assert len(right[0].spec.classes) == classes
    assert all(len(unknown.candidates) <= 3 for unknown in proposal.unknowns)


@pytest.mark.parametrize("name", [n for n in NETS if n not in ("norms-apart", "styled")])
@torch.no_grad()
def test_the_order_of_a_file_that_is_sorted_is_found(name: str) -> None:
    torch.manual_seed(1)
    net = trained(NETS[name][0]())
    report, content = opened_sorted(net.state_dict())
    assert any(agree(net, one.spec, content) for one in propose(report, "net").tries())


@torch.no_grad()
def test_averaged_weights_in_one_dictionary_come_first() -> None:
    torch.manual_seed(1)
    old, net = trained(dcgan(32)), trained(dcgan(32))
    state = {f"G.{n}": t for n, t in old.state_dict().items()}
    state |= {f"G_ema.{n}": t for n, t in net.state_dict().items()}
    report, content = opened(state)
    assert agree(net, propose(report, "net").spec(), content)


def test_it_is_a_document_that_a_person_can_answer() -> None:
    document = proposal_of(vae(10).state_dict()).document()
    assert [q["name"] for q in document["questions"]] == ["inputs", "output", "activation"]
    assert ImportSpec.model_validate(document["spec"]).latent_size == 10


AT_FIRST = [name for name in NETS if name not in ("latent-first", "one-hot-gan")]


@pytest.mark.parametrize("name", AT_FIRST)
@torch.no_grad()
def test_the_usual_ones_are_right_at_once(name: str) -> None:
    torch.manual_seed(1)
    net = trained(NETS[name][0]())
    report, content = opened(net.state_dict())
    assert agree(net, propose(report, "net").spec(), content)


REMEMBERED = {
    "label first, leaky": (lambda: upsampled(True, lambda: nn.LeakyReLU(0.2), 3), 100, 10),
    "label first, relu": (lambda: upsampled(True, nn.ReLU, 3), 100, 10),
    "latent first, leaky": (lambda: upsampled(False, lambda: nn.LeakyReLU(0.2), 3), 10, 10),
    "latent first, relu": (lambda: upsampled(False, nn.ReLU, 3), 10, 10),
    "no padding": (unpadded, 64, 0),
    "kernel 7": (seven, 100, 0),
}


@pytest.mark.parametrize("name", REMEMBERED)
def test_the_statistics_of_the_norms_settle_what_shapes_leave_open(
    name: str, tmp_path: Path
) -> None:
    torch.manual_seed(4)
    make, latent_size, classes = REMEMBERED[name]
    net = remembering(make(), latent_size, classes)
    report, content = opened(net.state_dict())
    (tmp_path / "w.safetensors").write_bytes(content)
    proposal = propose(report, "net")
    assert settle(proposal, tmp_path / "w.safetensors") < 0.1
    assert agree(net, proposal.spec(), content)
    assert {"inputs", "activation"} & {u.name for u in proposal.open} <= proposal.settled
    assert "output" not in proposal.settled


def test_without_norms_nothing_is_settled(tmp_path: Path) -> None:
    report, content = opened(vae(10).state_dict())
    (tmp_path / "w.safetensors").write_bytes(content)
    proposal = propose(report, "net")
    first = proposal.spec()
    assert settle(proposal, tmp_path / "w.safetensors") is None
    assert proposal.spec() == first
    assert not proposal.settled


def proposal_of(value: Any) -> Proposal:
    return propose(opened(value)[0], "net")


def test_names_do_not_matter_where_shapes_decide() -> None:
    state = dcgan(64).state_dict()
    layers = {name.rpartition(".")[0] for name in state}
    other = {layer: f"x{i:02}" for i, layer in enumerate(sorted(layers, key=lambda n: int(n[5:])))}
    renamed = {f"{other[n.rpartition('.')[0]]}.{n.rpartition('.')[2]}": t for n, t in state.items()}
    ours, theirs = proposal_of(state).spec(), proposal_of(renamed).spec()
    assert ours.options == theirs.options
    assert ours.image == theirs.image


def test_an_encoder_is_named_and_left_out() -> None:
    proposal = proposal_of(vae(0).state_dict())
    spec = proposal.spec()
    assert set(spec.tensors.ignore) == {"fc1.*", "fc21.*", "fc22.*"}
    assert (spec.family, spec.latent_size) == ("vae", 10)
    assert any("mean and log-variance" in fact for fact in proposal.facts)


def test_numbers_beside_the_tensors_are_believed() -> None:
    model = nn.Sequential(nn.Linear(72, 32), nn.ReLU(), nn.Linear(32, 784))
    spec = proposal_of({"state_dict": model.state_dict(), "nz": 62}).spec()
    assert (spec.latent_size, len(spec.classes)) == (62, 10)
    assert spec.tensors.state == ("state_dict",)


def test_tries_are_few_differ_and_begin_with_the_likeliest() -> None:
    proposal = proposal_of(upsampled(True, nn.ReLU, 3).state_dict())
    tries = list(proposal.tries())
    assert len(tries) == 12
    assert tries[0].spec == proposal.spec()
    assert len({one.spec.model_dump_json() for one in tries}) == 12
    assert set(tries[0].answers) == {unknown.name for unknown in proposal.open}


STRANGE: dict[str, Any] = {
    "a residual network": {
        "conv1.weight": torch.zeros(64, 3, 7, 7), "layer1.0.conv1.weight": torch.zeros(9, 8, 3, 3)},
    "a transformer": {"wte.weight": torch.zeros(50, 8), "h.attn.weight": torch.zeros(24, 8, 3)},
    "loose tensors": {"a": torch.zeros(3), "b": torch.zeros(4)},
    "two channels": {"l.weight": torch.zeros(64, 2, 4, 4)},
    "no square": {"l.weight": torch.zeros(77, 10)},
    "a norm alone": {"n.weight": torch.zeros(4), "n.bias": torch.zeros(4)},
    "nothing of size": {"l.weight": torch.zeros(0, 10)},
    "sides that do not fit": {"a.weight": torch.zeros(6, 4), "b.weight": torch.zeros(9, 7)},
    "numbers": {"steps": torch.zeros(())},
    "an empty kernel": {"l.weight": torch.zeros(64, 3, 0, 0)},
    "zero channels": {"a.weight": torch.zeros(4, 4), "b.weight": torch.zeros(0, 0, 4, 4)},
}  # fmt: skip


@pytest.mark.parametrize("name", STRANGE)
def test_what_is_no_row_of_layers_is_said_so(name: str) -> None:
    with pytest.raises(NoProposalError):
        proposal_of(STRANGE[name])
