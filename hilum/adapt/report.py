"""The report of an adaptation: one HTML file with numbers, a curve, and the best and worst held cases as pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from ..capabilities.system import System
from ..io.atomic import replacing
from ..io.overlay import sheet
from ..io.page import pillow
from ..parts import interaction
from ..train.loop import Course, Material
from ..train.samples import Case
from ..values.notice import SENTENCE
from ..values.prompts import Box
from .membership import ByCase

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.2rem .8rem;border-bottom:1px solid #d0d7de;text-align:left}
td.n{text-align:right;font-variant-numeric:tabular-nums}img{max-width:100%;margin:.5rem 0}small{color:#57606a}
@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}td,th{border-color:#30363d}}
"""


def write(
    path: Path,
    facts: dict[str, Any],
    course: Course,
    scores: tuple[ByCase, ByCase],
    material: Material,
    system: System,
) -> None:
    """Everything that the adaptation measured; nothing is fetched when the page is opened."""
    before, after = scores
    head, held = facts["membership"], facts["held_dice"]
    parts = [
        f"<h1>{escape(facts['system'])}, adapted by {escape(facts['method'])}</h1>",
        f"<p><small>{escape(SENTENCE)}</small></p>",
        f"<p>Held cases: Dice <b>{held['before']:.3f}</b> before, <b>{held['after']:.3f}</b> after "
        f"({len(material.held)} cases of patients that were not trained on; {len(material.train)} trained on).</p>",
        _table(_settings(facts)),
        "<h2>Course</h2>" + _curve(course),
        "<h2>Does it give away its cases?</h2><p>Told by Dice alone, trained cases from held ones: AUROC "
        f"{head['auroc']:.2f} [{head['low']:.2f}, {head['high']:.2f}]; 0.5 is a coin's guess. With few cases the "
        "interval is wide, and a low value is no proof of privacy.</p>",
        "<h2>Case by case</h2>" + _table(_cases(before, after), head=("case", "part", "before", "after")),
        "<h2>Held cases: worst and best</h2>" + "".join(_pictures(system, material.held, after.held)),
    ]
    page = f"<!doctype html><meta charset=utf-8><title>hilum adapt</title><style>{STYLE}</style>{''.join(parts)}"
    with replacing(path, force=True) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _settings(facts: dict[str, Any]) -> list[tuple[Any, ...]]:
    plan = facts["plan"]
    return [
        ("data", facts["data"]),
        ("trained parameters", f"{facts['parameters']:,}"),
        ("steps", f"{facts['steps']} of {plan['steps']}, kept: {facts['best_step']}; {facts['ended']}"),
        ("minutes", facts["minutes"]),
        ("batch, rate, seed", f"{plan['batch']}, {plan['rate']:g}, {plan['seed']}"),
    ]


def _cases(before: ByCase, after: ByCase) -> list[tuple[Any, ...]]:
    rows = [(name, "held", before.held[name], value) for name, value in sorted(after.held.items())]
    return rows + [(name, "trained", before.train[name], value) for name, value in sorted(after.train.items())]


def _table(rows: Iterable[Sequence[Any]], *, head: Sequence[str] = ()) -> str:
    lines = ["".join(f"<th>{escape(word)}</th>" for word in head)] if head else []
    lines += ["".join(map(_cell, row)) for row in rows]
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def _cell(value: Any) -> str:
    return f'<td class="n">{value:.3f}</td>' if isinstance(value, float) else f"<td>{escape(str(value))}</td>"


def _curve(course: Course, width: int = 640, height: int = 220) -> str:
    """Held Dice (dots and line) and the smoothed loss (thin), each on its own scale, as SVG."""
    steps = max(course.step, 1)
    dice = [(step / steps, value) for step, value in course.held]
    smooth = np.convolve(course.losses, np.ones(10) / 10, mode="valid") if len(course.losses) >= 10 else course.losses
    loss = [((place + 1) / steps, value) for place, value in enumerate(smooth)]
    top = max([value for _, value in loss], default=1.0) or 1.0
    drawn = [
        _line([(x, value / top) for x, value in loss[:: max(1, len(loss) // 300)]], width, height, "#8c959f", 1),
        _line(dice, width, height, "#0969da", 2),
    ]
    dots = "".join(f'<circle cx="{x * width:.1f}" cy="{height * (1 - y):.1f}" r="3" fill="#0969da"/>' for x, y in dice)
    words = f"<small>blue: Dice of held cases, 0 to 1; grey: loss, 0 to {top:.2f}; across: {course.step} steps</small>"
    return f'<svg viewBox="-4 -4 {width + 8} {height + 8}" width="{width}">{"".join(drawn)}{dots}</svg><br>{words}'


def _line(points: Sequence[tuple[float, float]], width: int, height: int, colour: str, thick: int) -> str:
    path = " ".join(f"{x * width:.1f},{height * (1 - y):.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{thick}"/>'


def _pictures(system: System, cases: Sequence[Case], scores: dict[str, float], *, each: int = 2) -> Iterable[str]:
    ranked = sorted((case for case in cases if case.name in scores), key=lambda case: scores[case.name])
    chosen = ranked if len(ranked) <= 2 * each else [*ranked[:each], *ranked[-each:]]
    for case in chosen:
        sample = case.samples[len(case.samples) // 2]
        prompts = (Box(*interaction.tight_box(sample.masks[0])),) if "box" in system.card.accepts else ()
        canvas = sheet(system.look(sample.image).ask(*prompts), prompts)  # type: ignore[arg-type]
        stream = io.BytesIO()
        pillow(canvas).save(stream, "PNG", optimize=True)
        picture = base64.b64encode(stream.getvalue()).decode()
        yield f'<p>{escape(case.name)}: Dice {scores[case.name]:.3f}<br><img src="data:image/png;base64,{picture}"></p>'
