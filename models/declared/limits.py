"""How large a declared network may be. All are checked before anything is allocated."""

from __future__ import annotations

from typing import Final

LAYERS: Final = 512
"""Layers in all, those inside of residuals, branches and inputs too."""

NESTING: Final = 8
"""How deep residuals, branches and joins may lie in one another."""

SIZE: Final = 65_536
"""Channels, groups, classes, rows of a table."""

FEATURES: Final = 1 << 24
"""Length of a vector."""

SIDE: Final = 4_096
"""Height and width of whatever passes between two layers, in pixels."""

KERNEL: Final = 64
"""Side of a kernel; strides, paddings and dilations too."""

PARAMETERS: Final = 1 << 28
"""Numbers in all weights: one gibibyte as float32."""

ACTIVATIONS: Final = 1 << 26
"""Numbers that one layer gives for one image: 256 MiB as float32."""

UNFOLDED: Final = 1 << 30
"""Numbers that a convolution unfolds for one image, where a device has no better way."""

OPERATIONS: Final = 1 << 40
"""Multiplications for one image."""

VALUES: Final = 20_000
"""Values in the JSON of one description, before it is looked at more closely."""

DEPTH: Final = 48
"""Lists and objects in one another in that JSON."""
