"""A seeded bug: the exact text that becomes another one."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mutant:
    """One bug in one file of `matching_engine/`."""

    name: str
    file: str
    text: str
    replacement: str

    @property
    def is_compiled(self) -> bool:
        """Whether modules have to be built anew."""
        return not self.file.endswith(".py")

    def sow(self, folder: Path) -> None:
        """Puts the bug into a copy of `matching_engine/`."""
        file = folder / self.file
        source = file.read_text(encoding="utf-8")
        if source.count(self.text) != 1:
            raise ValueError(f"{self.file} has the text of '{self.name}' {source.count(self.text)} times, not once")
        file.write_text(source.replace(self.text, self.replacement), encoding="utf-8")


@dataclass(frozen=True, init=False)
class ServiceMutant:
    """One bug in a file of the tree, and the tests that are to see it, the quickest first."""

    name: str
    file: str
    text: str
    replacement: str
    tests: tuple[str, ...]

    def __init__(self, name: str, file: str, text: str, replacement: str, *tests: str):
        for field, value in zip(self.__dataclass_fields__, (name, file, text, replacement, tests), strict=True):
            object.__setattr__(self, field, value)

    def sow(self, tree: Path) -> None:
        """Puts the bug into a copy of the tree."""
        Mutant(self.name, self.file, self.text, self.replacement).sow(tree)
