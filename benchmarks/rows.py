"""The measured figures and their table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median

HEAD = ("case", "measured", "reference", "figure (lowest to highest)", "target", "met")


@dataclass(frozen=True, slots=True)
class Row:
    """One case: what codapi_flask takes (`measured`), the reference, and each round's figure.

    `measured` and `reference` are medians of all rounds. The figures are `measured / reference`,
    for the unit `ms more` `measured - reference`, and `measured` without a reference. The target
    applies to their median.
    """

    case: str
    unit: str
    measured: float
    reference: float | None
    against: str
    figures: tuple[float, ...]
    at_most: float | None = None
    at_least: float | None = None

    @property
    def figure(self) -> float:
        return median(self.figures)

    @property
    def met(self) -> bool | None:
        """Whether the target is met, `None` without a target."""
        if self.at_most is not None:
            return self.figure <= self.at_most
        return None if self.at_least is None else self.figure >= self.at_least

    def document(self) -> dict[str, object]:
        """Return all fields, for JSON."""
        return {**asdict(self), "figure": self.figure, "met": self.met}

    def cells(self) -> tuple[str, ...]:
        """Return what the table shows, in the order of its head."""
        sign, unit = "", self.unit.removesuffix(" more")
        reference, figure_unit = "-", unit
        if self.reference is not None:
            reference = f"{_text(self.reference, unit)}, {self.against}"
            sign, figure_unit = ("+", "ms") if self.unit == "ms more" else ("", "x")
        figure = sign + _text(self.figure, figure_unit)
        if len(self.figures) > 1:
            figure += f" ({_text(min(self.figures))} to {_text(max(self.figures))})"
        bound, limit = ("≤", self.at_most) if self.at_least is None else ("≥", self.at_least)
        target = "-" if limit is None else f"{bound} {sign}{_text(limit, figure_unit)}"
        met = {None: "-", True: "yes", False: "NO"}[self.met]
        return self.case, _text(self.measured, unit), reference, figure, target, met


def ratio(
    case: str,
    unit: str,
    measured: Sequence[float],
    references: Sequence[float],
    against: str,
    **target: float,
) -> Row:
    """Make a row of ratios, one for each round; `target` is `at_most` or `at_least`."""
    figures = tuple(a / b for a, b in zip(measured, references, strict=True))
    return Row(case, unit, median(measured), median(references), against, figures, **target)


def more(
    case: str, measured: Sequence[float], references: Sequence[float], against: str, **target: float
) -> Row:
    """Make a row of differences, in milliseconds, one for each round."""
    figures = tuple(a - b for a, b in zip(measured, references, strict=True))
    return Row(case, "ms more", median(measured), median(references), against, figures, **target)


def record(case: str, unit: str, *measured: float, **target: float) -> Row:
    """Make a row without a reference."""
    return Row(case, unit, median(measured), None, "", measured, **target)


def table(rows: Iterable[Row]) -> str:
    """Return the rows as a table."""
    return markdown([HEAD, *(row.cells() for row in rows)])


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """Return lines of cells, the head first, as a Markdown table that reads well in a terminal."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * width for width in widths]
    padded = (
        " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in (lines[0], rule, *lines[1:])
    )
    return "\n".join(f"| {line} |" for line in padded)


def _text(number: float, unit: str = "") -> str:
    """Return a number with three significant digits."""
    digits = f"{number:.0f}" if abs(number) >= 100 else f"{number:.3g}"
    return f"{digits} {unit}".rstrip()
