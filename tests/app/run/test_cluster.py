"""`hilum run --on ray`: a cluster of this one machine gives the same bytes as processes, and loses as little."""

import pytest

from gauges import FATAL, ONCE, answers, started

pytest.importorskip("ray", reason="Ray is not installed: pip install 'hilum[scale]'")
pytestmark = pytest.mark.slow


def test_ray_gives_the_same_bytes_as_processes_and_actors_that_die_lose_nothing(
    hilum, gauge, table, disc, tmp_path, monkeypatch
):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    jobs = table(10, ONCE, 30, FATAL, 50)
    lines = jobs.read_text().splitlines()
    more = [*(f"{line}," for line in lines[1:]), f'{disc},scout,"8,6:32,30"']
    jobs.write_text("\n".join(["image,system,box", *more]) + "\n")
    running = started("run", jobs, "-o", tmp_path / "ray", "--on", "ray", "--workers", 2)
    said = running.communicate(timeout=300)
    assert running.returncode == 1, said
    if "timed out during startup" in said[1]:
        pytest.skip("this machine was too busy for Ray to start within the 30 seconds that it gives itself")
    assert "the worker of line 3 was lost; the line is taken again" in said[1], said
    assert "line 5, pictures/03.png: twice a worker ended over it, the last one was lost" in said[1]
    (gauge / "ended").unlink()
    assert hilum("run", jobs, "-o", tmp_path / "here", "--workers", 2).code == 1
    ours, theirs = (
        {name: each for name, each in answers(tmp_path / place).items() if not name.startswith("summary")}
        for place in ("here", "ray")
    )
    assert sorted(ours) == ["disc_mask.png", *(f"reports/{name}.json" for name in ("00", "01", "02", "04", "disc"))]
    assert ours == theirs
