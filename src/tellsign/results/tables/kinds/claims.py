"""Tables of claims: what sentences of a paper say, each with its printed number, ours, and whether it holds."""

from __future__ import annotations

from tellsign.errors import UserError
from tellsign.results.published import Quoted
from tellsign.results.tables.document import DASH, TIMES, Column, Number, Section
from tellsign.results.tables.layout import Draft, digits, range_text, section, why_not_compared
from tellsign.results.tables.specification import Slice
from tellsign.results.tables.verdicts import least_that_prints_as, verdict

HOW_TO_READ = (
    "Direction, of a difference: it holds where the 95 % interval and every seed are above 0, does not hold where none "
    "of them is, and is not decided otherwise.",
    "Size: the same against the least number that would be printed as the quoted one. It is not decided where ours "
    "agrees with the quoted number within the interval.",
    "A difference is taken seed by seed, over the seeds that both sides have. Its interval follows from those of both "
    "sides as if their test images were independent (Zou and Donner 2008), which is cautious. So is that of a mean of "
    "several runs, or of some subsets: its ends are means of their ends.",
)


def claims(draft: Draft) -> list[Section]:
    """One section: a row a sentence, which is listed by its number below.

    Raises:
        UserError: a row without a printed sentence.
    """
    spec = draft.spec
    names = ("claim", "metric", "quoted", f"ours {TIMES} sd", "95 % interval", "direction", "size", "seeds")
    numbered: dict[str, int] = {}

    def cells_of(row: Slice) -> list[str]:
        metric = row.select.get("metric", spec.metrics[0])
        cell = draft.cells.at(row, Slice(spec.labels[metric], "", {}, {}), metric)
        if cell.quoted is None:
            raise UserError(f"table {spec.name}, row {row.label}: a claim needs 'quoted', where its sentence stands.")
        number = numbered.setdefault(cell.quoted.note, len(numbered) + 1)
        texts = [f"{number}. {row.label}", spec.labels[metric], cell.quoted.value or DASH]
        if cell.ours is None:
            undecided = "not decided" + draft.marks.sign(row.why or "Not run here.")
            return [*texts, DASH, DASH, undecided, undecided if cell.quoted.value else DASH, DASH]
        texts += [*_ours_texts(cell.ours, "less" in row.select), _direction(cell.ours, "less" in row.select)]
        return [*texts, _size(draft, cell.ours, cell.quoted), range_text([cell.ours.seeds])]

    whole = section("", [Column("", name, quoted=name == "quoted") for name in names], spec.rows, cells_of)
    draft.notes += [f"{number}: {sentence}" for sentence, number in numbered.items()]
    draft.notes += HOW_TO_READ
    return [whole]


def _ours_texts(ours: Number, gain: bool) -> tuple[str, str]:
    """Ours with its deviation, and its interval; gains have a sign."""

    def text(value: float) -> str:
        return f"{value:+.1f}".replace("-", "−") if gain else digits(value)

    return f"{text(ours.value)} {TIMES} {digits(ours.sd)}", f"{text(ours.low)} to {text(ours.high)}"


def _direction(ours: Number, gain: bool) -> str:
    return verdict(ours.low, ours.high, ours.by_seed, 0.0) if gain else DASH


def _size(draft: Draft, ours: Number, quoted: Quoted) -> str:
    """Whether ours is as large as the printed number, where there is one and they may be compared."""
    if not quoted.value:
        return DASH
    if why := why_not_compared(draft, ours, quoted):
        return f"n/a{draft.marks.sign(why)}"
    return verdict(ours.low, ours.high, ours.by_seed, least_that_prints_as(quoted.value))
