"""The HTML of a report: whole in itself, read by everybody, safe whatever things are called."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from jsonschema import Draft202012Validator

from app.quality.curves import curves_of
from app.quality.document import Curve, Report
from app.quality.page import render
from models.evaluation.estimate import Figure
from tests import made_reports as made
from tests.documents import ROOT, render_report_schema

VOID = {"meta", "img", "br", "link", "hr", "input"}
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7 * 7 }}{% include 'report.css' %}",
    "</style></svg></title><script>",
    "javascript:alert(1)",
    "$\\frac{a}{b$ & <!-- ]]>",
    "\N{RIGHT-TO-LEFT OVERRIDE}gab",
)


class Page(HTMLParser):
    """Elements of a page, and whether they are closed in the order in which they were opened."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, *tags: str) -> Iterator[dict[str, str]]:
        """Attributes of every element of these kinds."""
        yield from (attributes for tag, attributes in self.elements if tag in tags)


@pytest.fixture(scope="module")
def html() -> str:
    return render(made.report(), made.pictures())


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_the_page_is_well_formed(page: Page) -> None:
    assert page.open == []
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    for attributes in page.all("section"):
        assert attributes["aria-labelledby"] in ids


def test_it_begins_with_the_verdict(html: str) -> None:
    heading = re.search(r"<h1>(.*?)</h1>", html)
    assert heading is not None
    assert heading.group(1) == made.FINE
    assert html.index("<h1>") < html.index("<h2")


def test_it_loads_nothing_and_runs_nothing(page: Page, html: str) -> None:
    assert not list(page.all("script", "link", "iframe", "object", "embed", "form", "base"))
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "xlink:href", "srcset", "poster", "action"):
            target = attributes.get(name, "#")
            assert target.startswith(("#", "data:image/png;base64,")), (tag, name, target)
    assert not re.findall(r"url\((?!#)|@import", html)
    (policy,) = [a["content"] for a in page.all("meta") if "http-equiv" in a]
    assert "default-src 'none'" in policy


def test_every_picture_and_plot_is_told_in_words(page: Page) -> None:
    pictures = list(page.all("img"))
    assert len(pictures) == 4
    assert all(picture["alt"] for picture in pictures)
    plots = [figure for figure in page.all("figure") if figure.get("role") == "img"]
    assert len(plots) == len(list(page.all("svg"))) == 2
    assert all("table below" in figure["aria-label"] for figure in plots)
    for header in page.all("th"):
        assert header["scope"] in ("col", "row")


def test_it_follows_light_and_dark_and_can_be_printed(html: str) -> None:
    assert "@media (prefers-color-scheme: dark)" in html
    assert "@media print" in html
    svg = html[html.index("<svg") :]
    assert "var(--ink)" in svg
    colours = set(re.findall(r"#[0-9a-f]{6}", svg[: svg.index("</svg>")]))
    assert not colours - {"#ffffff"}, "every colour is one of the page's"


def test_it_shows_every_part(page: Page) -> None:
    text = " ".join(page.text)
    for part in (
        "Asked and delivered", "Contact sheets", "Figures", "Does it help?", "Copies", "Balance",
        "Models", "Cost", "Environment", "How to make it again", "The gate is not passed",
        "They help: +2.0 points", "60 samples, and it takes 2,048", "no time was left",
        "40 as not-finite", "small-classifier",
    ):  # fmt: skip
        assert part in text or part in str(page.elements), part
    assert len(re.findall(r"^\s*\d+ %\s*$", text, re.MULTILINE)) == 0


@pytest.mark.parametrize("name", HOSTILE)
def test_names_stay_names(name: str) -> None:
    report = made.report(
        name,
        "coat",
        title=name,
        verdict=name,
        warnings=(name,),
        again=(name,),
        models=(
            made.model_part(
                description=name,
                licence=name,
                figures={name: name},
                training={name: [name, {name: None}]},
                warnings=(name,),
                curves=(Curve(name=name, steps=(0.0, 1.0), values=(0.0, 1.0)),),
            ),
        ),
        environment={name: {name: name}},
    )
    hostile = Page(render(report, made.pictures(name, "coat")))
    plain = Page(render(made.report(), made.pictures()))
    assert {tag for tag, _ in hostile.elements} <= {tag for tag, _ in plain.elements}
    known = {n for _, attributes in plain.elements for n in attributes}
    assert {n for _, attributes in hostile.elements for n in attributes} <= known
    assert hostile.open == []
    assert name in "".join(hostile.text)


def test_a_report_of_a_job_alone_is_whole_too() -> None:
    figure = Figure(value=None, synthetic=0, reason="no classifier is shipped")
    report = made.report(
        evaluation=None, gate=None, models=(), again=(), warnings=(),
        evaluation_reason="Nobody asked.", figures={"label_agreement": figure},
    )  # fmt: skip
    text = " ".join(Page(render(report)).text)
    assert "not measured: no classifier is shipped" in text
    assert "Nobody asked." in text
    assert "Does it help?" not in text


# What a report is besides


def test_a_report_comes_back_from_its_json() -> None:
    report = made.report()
    assert Report.model_validate_json(report.to_json()) == report


def test_its_json_is_as_the_published_schema_says() -> None:
    schema = json.loads((ROOT / "docs" / "report.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    document = json.loads(made.report().to_json())
    validator.validate(document)
    for damaged in ({"verdict": ""}, {"figures": {"kid": {"value": "0.1"}}}, {"format": "other/1"}):
        assert list(validator.iter_errors(document | damaged))
    del document["cost"]
    assert list(validator.iter_errors(document))


def test_the_published_schema_is_that_of_the_code() -> None:
    """If this fails: `python -m tests.documents`."""
    assert (ROOT / "docs" / "report.schema.json").read_text() == render_report_schema()


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"curves": None},
        {"curves": [1, 2]},
        {"curves": {"loss": [1.0]}},
        {"curves": {"step": "many", "loss": [1.0]}},
        {"curves": {"step": [1, 2], "loss": [1.0]}},
        {"curves": {"step": [1], "loss": [float("nan")]}},
        {"curves": {"step": [1], "loss": ["1"]}},
        {"curves": {"step": [None], "loss": [True]}},
        {"curves": {"step": list(range(10_000)), "loss": list(range(10_000))}},
    ],
)
def test_a_record_without_curves_has_none(record: dict[str, object]) -> None:
    assert curves_of(record) == ()  # type: ignore[arg-type]


def test_curves_are_read_from_a_record() -> None:
    record = {"curves": {"step": [0, 10, 20], "loss": [1.5, None, 1], "fid": [3, 2, 1]}}
    loss, fid = curves_of(record)  # type: ignore[arg-type]
    assert (loss.name, loss.steps, loss.values) == ("loss", (0.0, 20.0), (1.5, 1.0))
    assert fid.values == (3.0, 2.0, 1.0)
