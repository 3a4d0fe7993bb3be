"""No hostile file runs anything, costs much, leaves anything, or is refused without a reason."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from models.importing.errors import ADVICE, Kind, UnsupportedCheckpointError
from models.importing.limits import Limits
from models.importing.sandbox import Converted, convert
from tests.hostile.corpus import Case, cases

CASES = {case.name: case for case in cases()}
LIMITS = Limits()


class Verdict(NamedTuple):
    outcome: Converted | UnsupportedCheckpointError
    marker: Path
    left: list[str]
    size: int


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Verdict]:
    """Every file of the corpus, made and judged, two at a time: each has its process."""
    root = tmp_path_factory.mktemp("hostile")

    def judge(case: Case) -> Verdict:
        folder, marker = root / case.name, root / f"{case.name}.marker"
        workdir = folder / "work"
        workdir.mkdir(parents=True)
        path = folder / "generator.pth"
        path.write_bytes(case.make(marker))
        try:
            outcome: Converted | UnsupportedCheckpointError = convert(path, workdir, LIMITS)
        except UnsupportedCheckpointError as error:
            outcome = error
        size = path.stat().st_size
        path.unlink()
        return Verdict(outcome, marker, sorted(path.name for path in workdir.iterdir()), size)

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(CASES, pool.map(judge, CASES.values()), strict=True))


def test_the_corpus_is_as_large_as_it_says() -> None:
    assert len(CASES) >= 60


@pytest.mark.parametrize("name", CASES)
def test_the_verdict_is_the_right_one(name: str, verdicts: dict[str, Verdict]) -> None:
    """Out of time, out of memory and crashed are kinds too: none of them is accepted here."""
    outcome, wanted = verdicts[name].outcome, CASES[name].kinds
    if isinstance(outcome, Converted):
        assert not wanted
        return
    assert outcome.kind in wanted, str(outcome)
    what, advice = ADVICE[outcome.kind]
    assert str(outcome).startswith(what)
    assert str(outcome).endswith(advice)
    assert "unforeseen" not in outcome.detail


@pytest.mark.parametrize("name", CASES)
def test_nothing_runs_and_nothing_is_left(name: str, verdicts: dict[str, Verdict]) -> None:
    verdict = verdicts[name]
    assert not verdict.marker.exists()
    assert verdict.left == ([] if CASES[name].kinds else ["weights.safetensors"])


@pytest.mark.parametrize("name", CASES)
def test_memory_is_bounded(name: str, verdicts: dict[str, Verdict]) -> None:
    verdict = verdicts[name]
    assert verdict.outcome.peak_bytes <= 2 * verdict.size + (512 << 20)


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_says_what_to_do_and_never_to_load_unsafely(kind: Kind) -> None:
    sentence = str(UnsupportedCheckpointError(kind, "found"))
    assert len(sentence) > 40
    assert "weights_only" not in sentence
    assert "safe_globals" not in sentence


def test_numbers_that_are_not_finite_are_counted(verdicts: dict[str, Verdict]) -> None:
    outcome = verdicts["tensors-not-finite"].outcome
    assert isinstance(outcome, Converted)
    assert outcome.report.non_finite == 3
    assert {row.name: row.non_finite for row in outcome.report.tensors}["l1.weight"] == 3


def test_the_page_lists_every_kind_in_its_words() -> None:
    page = (Path(__file__).parents[3] / "docs" / "importing.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    for kind, (what, _) in ADVICE.items():
        assert f"| `{kind}` | {what} |" in rows
