"""What reading one file may cost. Imports nothing but the standard library."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of one import.

    file_bytes: of the file. seconds: wall clock until the verdict; also of processor time.
    memory_bytes: what the child may use beside twice the file. tensors: of the chosen part.
    """

    file_bytes: int = 1 << 30
    seconds: float = 10.0
    memory_bytes: int = 512 << 20
    tensors: int = 20_000

    def memory(self, size: int) -> int:
        """Bytes that a child may use for a file of `size` bytes."""
        return 2 * size + self.memory_bytes

    def output(self, size: int) -> int:
        """Bytes that a child may write: tied weights are written twice, a header comes on top."""
        return 2 * size + (16 << 20)
