"""Lines of the speed table: what was measured, beside what, and whether it is what we require."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from ..io.atomic import replacing
from ..values.errors import BadInput

BUSY = 0.05  # of all cores, from which what others take is said aloud
BEGIN, END = "<!-- speed: begin -->", "<!-- speed: end -->"


@dataclass(frozen=True, slots=True)
class Line:
    """One row. `met` is None where nothing is required here; then `wanted` says why, or stays empty."""

    what: str
    ours: str
    beside: str = ""
    ratio: str = ""
    wanted: str = ""
    met: bool | None = None

    @property
    def verdict(self) -> str:
        """One word."""
        return {None: "", True: "met", False: "MISSED"}[self.met]


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds of one run by the clock, and of all processors together in this process."""

    wall: float
    cpu: float


def took(work: Callable[[], object]) -> Took:
    """Once."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Took(time.perf_counter() - wall, time.process_time() - cpu)


def in_turns(pairs: int, *works: Callable[[], object]) -> list[list[Took]]:
    """A B A B: what disturbs one disturbs the other. The first run of each is a warm-up and does not count."""
    for work in works:
        work()
    rounds = [[took(work) for work in works] for _ in range(pairs)]
    return [list(column) for column in zip(*rounds, strict=True)]


def typical(runs: Sequence[Took]) -> float:
    """The median by the clock."""
    return median(run.wall for run in runs)


def ratio(ours: Sequence[Took], others: Sequence[Took]) -> float:
    """How often ours fits into theirs: the median over the pairs, by the clock."""
    return median(other.wall / own.wall for own, other in zip(ours, others, strict=True))


def cpu_ratio(ours: Sequence[Took], others: Sequence[Took]) -> float:
    """The same by processor seconds, which other processes disturb less."""
    return median(other.cpu / own.cpu for own, other in zip(ours, others, strict=True))


def seconds(value: float) -> str:
    """Three digits, in s or ms."""
    return f"{value * 1e3:.3g} ms" if value < 1 else f"{value:.3g} s"


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds of all cores since the machine began: at work, taken by the host; and ours with our children's."""

    clock: float
    worked: float
    stolen: float
    own: float

    @classmethod
    def now(cls) -> Spent | None:
        """None where the system does not tell."""
        own = os.times()
        try:
            fields = [int(x) for x in Path("/proc/stat").read_text(encoding="ascii").split("\n")[0].split()[1:9]]
        except (OSError, ValueError):
            return None
        user, nice, system, _, _, irq, softirq, stolen = (each / os.sysconf("SC_CLK_TCK") for each in fields)
        return cls(time.perf_counter(), user + nice + system + irq + softirq, stolen, sum(own[:4]))


def busy(begin: Spent | None, end: Spent | None) -> str:
    """What else the machine did between the two, as a sentence for the table's head."""
    count = os.cpu_count() or 1
    if begin is None or end is None:
        return f"{count} cores; the system does not tell what else it was doing"
    elapsed = end.clock - begin.clock
    others = max(0.0, end.worked - begin.worked - (end.own - begin.own)) / elapsed
    stolen = (end.stolen - begin.stolen) / elapsed
    state = "otherwise idle" if others + stolen < BUSY * count else "BUSY"
    policy = os.environ.get("OMP_WAIT_POLICY")  # passive slows each prompt by half, active takes cores from OpenVINO
    slow = f"; OMP_WAIT_POLICY={policy}, and unset is fastest" if policy else ""
    return (
        f"{count} cores, {state}: other processes took {others:.2f} of them during the run, the host {stolen:.2f}{slow}"
    )


def markdown(head: Sequence[str], lines: Sequence[Line]) -> str:
    """The table, with its head as a list."""
    rows = [
        "| what | hilum | beside | ratio | required | |",
        "|---|---|---|---|---|---|",
        *(f"| {x.what} | {x.ours} | {x.beside} | {x.ratio} | {x.wanted} | {x.verdict} |" for x in lines),
    ]
    return "\n".join([*(f"- {sentence}" for sentence in head), "", *rows])


def write_into(page: Path, text: str, name: str = "speed") -> None:
    """Puts the table between the markers of a page, or at its end with the markers where there are none yet."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before = page.read_text(encoding="utf-8") if page.is_file() else "# Measurements\n"
    block = f"{begin}\n{text}\n{end}"
    if begin in before:
        head, _, rest = before.partition(begin)
        if end not in rest:
            raise BadInput(f"{page} has the marker {begin} without {end}.")
        after = head + block + rest.partition(end)[2]
    else:
        after = f"{before.rstrip()}\n\n## {name.capitalize()}\n\n{block}\n"
    page.parent.mkdir(parents=True, exist_ok=True)
    with replacing(page, force=True) as temporary:
        temporary.write_text(after, encoding="utf-8")
