"""Class names as folder names: reversible, and safe on every file system.

Names are kept exactly in the database and in JSON; only members of archives use this encoding.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import unquote

SYNTHETIC_PREFIX = "synthetic-"
"""What the names of samples begin with where real images lie beside them."""
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_ ")
# https://learn.microsoft.com/en-us/windows/win32/fileio/naming-a-file
_RESERVED = frozenset(
    ["con", "prn", "aux", "nul"]
    + [f"{port}{n}" for port in ("com", "lpt") for n in "0123456789¹²³"]
)
_LONGEST_BYTES = 200


def directory_name(class_name: str) -> str:
    """The folder of a class: letters, digits, `-`, `_` and inner spaces as they are, every other
    byte of the UTF-8 as %XX, so that `../x`, `CON`, NUL or `a/b` are harmless and distinct.

    Letters of other scripts stay readable when they are in NFC. Undo with `class_name`.
    """
    text = "".join(_encode(character) for character in class_name)
    if not unicodedata.is_normalized("NFC", text):  # letters that only together are not in NFC
        text = "".join(c if c.isascii() else _percent(c) for c in text)
    if text.lower() in _RESERVED or text[:1] in (" ", "-"):
        text = _percent(text[0]) + text[1:]
    if text[-1:] == " ":
        text = text[:-1] + _percent(" ")
    return text


def class_name(directory: str) -> str:
    """The class whose folder this is."""
    return unquote(directory, errors="surrogatepass")


def directories(classes: Sequence[str]) -> dict[str, str]:
    """Class → folder for a whole dataset: distinct also where upper and lower case are one.

    Names too long for a folder, or equal but for case, get their position as a folder name.
    """
    return dict(zip(classes, _folders(tuple(classes)), strict=True))


@lru_cache(maxsize=256)
def _folders(classes: tuple[str, ...]) -> tuple[str, ...]:
    """Kept, because every small request of a model asks for the same."""
    folders: list[str] = []
    seen: set[str] = set()
    for position, name in enumerate(classes):
        folder = directory_name(name)
        if len(folder.encode()) > _LONGEST_BYTES or folder.casefold() in seen:
            folder = f"class-{position:05d}"
        while folder.casefold() in seen:
            folder += "_"
        seen.add(folder.casefold())
        folders.append(folder)
    return tuple(folders)


def _encode(character: str) -> str:
    if character in _PLAIN:
        return character
    readable = character.isalnum() and unicodedata.is_normalized("NFC", character)
    return character if readable and ord(character) > 127 else _percent(character)


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode(errors="surrogatepass"))
