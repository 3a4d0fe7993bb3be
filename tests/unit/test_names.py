"""Class names as folders: reversible, distinct, and harmless on every file system."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.datasets.names import class_name, directories, directory_name

# Reserved device names of Windows, superscript digits included; with any extension, any case.
RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])( *(\..*)?)?", re.I)
FORBIDDEN = set('<>:"/\\|?*') | {chr(code) for code in range(32)} | {"\x7f"}

HOSTILE = (
    "../../x", ".", "..", " ", "a ", "a.", " a", "CON", "con", "NUL.txt", "COM1", "COM¹", "lpt³",
    "a/b", "a\\b", "a:b", "a\nb", "a\tb", "a\x00b", "\N{SNOWMAN}", "\N{GRINNING FACE}",
    "\N{ZERO WIDTH JOINER}", "\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe", "-rf", "=cmd()", "<script>",
    "%2e%2e", "%", "{{7*7}}", "'; DROP TABLE jobs; --", "\ud800", "\x7f", "~", "*", "?",
)  # fmt: skip


def safe(folder: str) -> bool:
    """Whether a folder can be made under this name on Linux, macOS and Windows."""
    return (
        bool(folder)
        and folder not in (".", "..")
        and not set(folder) & FORBIDDEN
        and not folder.endswith((" ", "."))
        and not folder.startswith((" ", "-"))
        and not RESERVED.fullmatch(folder)
        and folder.isprintable()
        and len(folder.encode()) <= 255
    )


names = st.one_of(
    st.text(min_size=1, max_size=40),
    st.text(st.characters(), min_size=1, max_size=255),
    st.sampled_from(HOSTILE),
    st.from_regex(RESERVED, fullmatch=True),
)


@settings(deadline=None, max_examples=300)
@given(names)
def test_any_name_comes_back(name: str) -> None:
    assert class_name(directory_name(name)) == name


@settings(deadline=None, max_examples=300)
@given(st.lists(names, min_size=1, max_size=12, unique=True))
@example(["bag", "BAG", "Bag"])
@example(["\u00e9", "e\u0301"])
@example(["\uac00", "\u1100\u1161"])
@example(["\u2126", "\u03a9", "\u03c9"])
@example(["stra\u00dfe", "strasse"])
@example(["x" * 300, "class-00000"])
@example(["class-00001", "x" * 300, "CLASS-00001"])
def test_folders_of_a_dataset_are_safe_and_distinct(classes: list[str]) -> None:
    folders = directories(classes)
    assert list(folders) == classes
    for folder in folders.values():
        assert safe(folder), folder
    for form in ("NFC", "NFD"):
        assert len({unicodedata.normalize(form, f).casefold() for f in folders.values()}) == len(
            classes
        )


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_harmless(name: str) -> None:
    assert safe(directory_name(name))
    assert class_name(directory_name(name)) == name


@pytest.mark.parametrize("name", ["t-shirt", "ankle boot", "label_7", "Größe", "狗", "собака"])
def test_plain_names_stay_readable(name: str) -> None:
    assert directory_name(name) == name


def test_folders_that_keep_their_encoding_can_be_undone() -> None:
    classes = ["a/b", "CON", "dog", "\N{SNOWMAN}"]
    assert [class_name(folder) for folder in directories(classes).values()] == classes


def test_a_name_that_differs_only_in_case_is_told_apart_by_its_position() -> None:
    assert directories(["bag", "BAG", "class-00001"]) == {
        "bag": "bag",
        "BAG": "class-00001",
        "class-00001": "class-00002",
    }


def test_a_thousand_names_that_differ_only_in_case_or_length() -> None:
    classes = ["x" * (201 + k) for k in range(500)] + ["y" * 5 + "Y" * k for k in range(500)]
    folders = directories(classes)
    assert len({folder.casefold() for folder in folders.values()}) == 1000
