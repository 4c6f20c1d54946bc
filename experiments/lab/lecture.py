"""What the lecture states, and which claims of which experiment measure each statement.

A statement holds if every claim that its patterns match holds. The patterns are those of
`fnmatch`, tried anywhere in a claim's own statement.
"""

import dataclasses
import tomllib
from collections.abc import Iterable
from pathlib import Path

from .claims import Claim


@dataclasses.dataclass(frozen=True)
class Statement:
    """One statement of the lecture.

    Attributes:
        section: Section of the lecture.
        text: The statement.
        experiment: Experiment that measures it.
        patterns: Which of its claims do; all where there is none.
    """

    section: str
    text: str
    experiment: str
    patterns: tuple[str, ...] = ()

    def claims(self, claims: Iterable[Claim]) -> list[Claim]:
        """Return those claims of the experiment that measure the statement, by pattern.

        Example:
            >>> claim = Claim("Adam: steps are one rate", "derived", "1", "1", holds=True)
            >>> len(Statement("", "", "adaptive", ("Adam*one",)).claims([claim]))
            1
        """
        claims = list(claims)
        found = [
            claim
            for pattern in self.patterns or ("",)
            for claim in claims
            if claim.matches(pattern)
        ]
        return list(dict.fromkeys(found))

    def unmeasured(self, claims: Iterable[Claim]) -> list[str]:
        """Return those patterns that no claim matches: of this the statement speaks, too.

        Example:
            >>> claim = Claim("Adam: steps are one rate", "derived", "1", "1", holds=True)
            >>> Statement("", "", "adaptive", ("Adam*one", "AdaGrad")).unmeasured([claim])
            ['AdaGrad']
        """
        claims = list(claims)
        return [
            pattern
            for pattern in self.patterns
            if not dataclasses.replace(self, patterns=(pattern,)).claims(claims)
        ]


def _read(path: Path) -> tuple[Statement, ...]:
    """Read the statements, in the order of the file."""
    with path.open("rb") as file:
        sections = tomllib.load(file)
    return tuple(
        Statement(section, text, experiment, tuple(patterns))
        for section, rows in sections.items()
        for text, experiment, *patterns in rows
    )


STATEMENTS = _read(Path(__file__).with_name("lecture.toml"))
"""All statements of `lecture.toml`."""
