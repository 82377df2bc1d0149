"""`python -m hilum.bench.serving`: many at once, many one after another, and `kill -9`, against a real `hilum serve`.

The server is a process of its own, asked over loopback. What is required is that nothing is lost, doubled or put out of
order, that everybody gets their own answers, and that memory stays flat; seconds are told, and not judged.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer

from ..backends import machine
from ..values import progress
from . import speed_table
from .serving_child import Served, box, picture
from .speed_table import Line, Spent, seconds

FLAT = 0.05  # of the memory at half of the sessions, by which it may have grown at their end
MIB = 1 << 20


def flight_lines(state: Path, flying: int) -> Iterator[Line]:
    """Prompts in flight on one look: those of one session in the order in which they came, each session its own."""
    served = Served.start(state)
    try:
        sessions, side, random = 10, 512, np.random.default_rng(1)
        image, first = served.session(picture(side, 1))
        began = time.perf_counter()
        served.say(first, box(side, random))
        yield Line(
            "first prompt on a 512² picture: torch, weights, look and mask", seconds(time.perf_counter() - began)
        )
        ids = [served.begin(image) for _ in range(sessions)]
        boxes = {id: [box(side, random) for _ in range(flying // sessions)] for id in ids}
        began = time.perf_counter()
        with ThreadPoolExecutor(sessions) as pool:
            sent = list(pool.map(lambda id: [served.say(id, each, wait=0) for each in boxes[id]], ids))
        told = [[each if "revision" in each else served.ended(each["id"]) for each in jobs] for jobs in sent]
        whole = time.perf_counter() - began
        results = [[each.get("result", each) for each in jobs] for jobs in told]
        done = sum(each is not None for jobs in results for each in jobs)
        ordered = all([each["revision"] for each in jobs] == list(range(1, len(jobs) + 1)) for jobs in results)
        own = all(_own(jobs[-1], id, boxes[id]) for id, jobs in zip(ids, results, strict=True))
        yield Line(
            f"{flying} prompts in flight on one look: answered", f"{done} of {flying}", wanted="all", met=done == flying
        )
        yield Line("… in the order of their session", _yes(ordered), wanted="yes", met=ordered)
        yield Line("… each session its own boxes", _yes(own), wanted="yes", met=own)
        yield Line("… all of them, by the clock", seconds(whole))
        alone = [_took(lambda: served.say(first, box(side, random))) for _ in range(10)]
        yield Line("a prompt by itself on that look, request to answer (median of 10)", seconds(median(alone)))
    finally:
        served.stop()


def memory_lines(state: Path, sessions: int) -> Iterator[Line]:
    """Sessions one after another, each with an image of its own; none is ended."""
    served = Served.start(state)
    try:
        random, held = np.random.default_rng(2), {}
        for number in progress.track(range(1, sessions + 1), "sessions"):
            _, id = served.session(picture(256, number))
            served.say(id, box(256, random))
            held[number] = served.resident()
        half, end = held[sessions // 2], held[sessions]
        grown = end / half - 1
        yield Line(
            f"memory after session 1, {sessions // 2}, {sessions}",
            " · ".join(f"{held[at] / MIB:.0f} MiB" for at in (1, sessions // 2, sessions)),
        )
        yield Line(
            f"… growth over the second {sessions - sessions // 2} sessions",
            f"{grown:+.1%}",
            wanted=f"≤ {FLAT:.0%}",
            met=grown <= FLAT,
        )
        answered = served.ask("GET", f"/api/sessions/{id}")["objects"]
        yield Line("… the last one still answers", _yes(len(answered) == 1), wanted="yes", met=len(answered) == 1)
    finally:
        served.stop()


@dataclass(slots=True)
class Story:
    """What was asked of the server that is killed, session by session, each prompt under its key."""

    sessions: list[str]
    said: dict[str, list[tuple[str, dict[str, Any]]]] = field(default_factory=dict)

    def more(self, random: np.random.Generator, round_: int, each: int) -> list[tuple[str, str, dict[str, Any]]]:
        """New prompts for every session."""
        new = []
        for at in range(each):
            for id in self.sessions:
                key = f"{round_}-{at}-{id}"
                prompt = box(256, random)
                self.said.setdefault(id, []).append((key, prompt))
                new.append((id, key, prompt))
        return new


def kill_lines(state: Path, kills: int) -> Iterator[Line]:
    """SIGKILL at a random moment, again and again; what was not acknowledged is sent again under its key."""
    random = np.random.default_rng(3)
    served = Served.start(state)
    image, first = served.session(picture(256, 3))
    story = Story([first, *(served.begin(image) for _ in range(3))])
    served.say(served.begin(image), box(256, random))  # torch is there: what is killed is at work
    for number in progress.track(range(kills), "kills"):
        new = story.more(random, number, 3)
        sending = threading.Thread(target=_send, args=(served, new))
        sending.start()
        time.sleep(float(random.uniform(0.0, 1.0)))
        served.kill()
        sending.join()
        served = Served.start(state)
        for id, key, prompt in new:
            served.say(id, prompt, key)
    try:
        yield from _judged(served, story, kills)
    finally:
        served.stop()
    log = subprocess.run(
        [sys.executable, "-m", "hilum.app.cli", "audit", "verify", str(state / "audit.jsonl")],
        capture_output=True,
        text=True,
        check=False,
    )
    yield Line("… the audit log verifies", _yes(log.returncode == 0), wanted="yes", met=log.returncode == 0)


def _judged(served: Served, story: Story, kills: int) -> Iterator[Line]:
    asked = sum(map(len, story.said.values()))
    lost = doubled = 0
    for id, said in story.said.items():
        now = served.ask("GET", f"/api/sessions/{id}")
        found = [each["low"] for each in now["objects"][0]["prompts"]]
        wanted = [prompt["low"] for _, prompt in said]
        lost += sum(1 for each in wanted if each not in found)
        doubled += now["revision"] - len(said) if now["revision"] > len(said) else 0
        doubled += len(found) - len(wanted) if len(found) > len(wanted) else 0
        if found != wanted and not lost and not doubled:
            yield Line("… the order of a session", "changed", wanted="kept", met=False)
    yield Line(f"kill -9 at {kills} random moments: prompts asked", str(asked))
    yield Line("… lost", str(lost), wanted="0", met=lost == 0)
    yield Line("… doubled", str(doubled), wanted="0", met=doubled == 0)


def _send(served: Served, new: list[tuple[str, str, dict[str, Any]]]) -> None:
    """Sends until the server is gone."""
    try:
        for id, key, prompt in new:
            served.say(id, prompt, key, wait=0)
    except (OSError, HTTPException, ValueError):
        return


def _own(result: dict[str, Any], id: str, said: list[dict[str, Any]]) -> bool:
    """Whether the last answer of a session is that of this session, with its own boxes in their order."""
    return result["id"] == id and [each["low"] for each in result["objects"][0]["prompts"]] == [b["low"] for b in said]


def _took(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _yes(found: bool) -> str:
    return "yes" if found else "no"


def main(
    flying: Annotated[int, typer.Option(min=10, help="prompts in flight")] = 50,
    sessions: Annotated[int, typer.Option(min=2, help="sessions one after another")] = 200,
    kills: Annotated[int, typer.Option(min=0, help="times that the server is killed")] = 20,
    write: Annotated[Path | None, typer.Option(help="a page to put the table into, docs/measurements.md")] = None,
) -> None:
    """What a server stands; exit 1 where something required is missed."""
    begin, found = Spent.now(), []
    with tempfile.TemporaryDirectory() as folder, progress.heard_by(_said):
        parts = (("flight", flight_lines, flying), ("memory", memory_lines, sessions), ("kills", kill_lines, kills))
        for name, part, count in parts:
            for line in part(Path(folder) / name, count):
                found.append(line)
                typer.echo(f"  {line.what}: {line.ours} {line.verdict}", err=True)
    head = (
        f"`make bench-serve`, {machine.processor()}, {speed_table.busy(begin, Spent.now())}.",
        f"{flying} prompts in flight, {sessions} sessions, {kills} kills; the system is scout.",
    )
    text = speed_table.markdown(head, found)
    typer.echo(text)
    if write is not None:
        speed_table.write_into(write, text, "serving")
    raise typer.Exit(any(line.met is False for line in found))


def _said(what: str, done: int, total: int | None) -> None:
    if total is None or done % 20 == 0:
        typer.echo(f"  {what}" + (f" {done} of {total}" if total else ""), err=True)


if __name__ == "__main__":
    typer.run(main)
