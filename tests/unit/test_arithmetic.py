"""Products with the same bits for any number of threads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from app.arithmetic import repeat_products


@pytest.mark.parametrize(
    ("maker", "before", "wanted"),
    [
        ("GenuineIntel", None, "AUTO,STRICT"),
        ("AuthenticAMD", None, None),
        ("GenuineIntel", "COMPATIBLE", "COMPATIBLE"),
        (None, None, None),
    ],
)
def test_strict_products_where_they_are_known_to_be_needed(
    maker: str | None,
    before: str | None,
    wanted: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if maker:
        (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nvendor_id\t: {maker}\n")
    if before is None:
        monkeypatch.delenv("MKL_CBWR", raising=False)
    else:
        monkeypatch.setenv("MKL_CBWR", before)
    repeat_products(tmp_path / "cpuinfo")
    assert os.environ.get("MKL_CBWR") == wanted


def test_a_product_is_the_same_with_one_thread_and_with_two() -> None:
    """On any processor that the suite runs on; sizes are those of the article's network."""
    random = torch.Generator().manual_seed(0)
    x = torch.randn(256, 512, generator=random)
    weight = torch.randn(1_024, 512, generator=random)
    threads = torch.get_num_threads()
    made = []
    for count in (1, 2):
        torch.set_num_threads(count)
        made.append(torch.nn.functional.linear(x, weight))
    torch.set_num_threads(threads)
    assert torch.equal(*made)


def test_it_does_not_load_torch() -> None:
    """It would be too late then."""
    code = "import sys, app.arithmetic; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
