"""Workers as actors of Ray: one cluster of one core for all claims, since starting it takes seconds."""

from pathlib import Path

import pytest

from hands import item, refusing, writing
from hilum.app.run.answering import Setting
from hilum.app.run.cluster import Cluster
from hilum.app.run.dispatch import outcomes
from hilum.values import progress
from hilum.values.errors import Failed

pytest.importorskip("ray", reason="Ray is not installed: pip install 'hilum[scale]'")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Ray leaves sockets and files to the collector


@pytest.fixture(autouse=True)
def _here(monkeypatch):
    """A cluster of its own, whose workers find the hands of these tests."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


def test_actors_that_die_lose_nothing_and_an_item_that_kills_two_has_failed(tmp_path):
    said = []
    words = "x", f"die:{tmp_path / 'marks'}", f"die once:{tmp_path / 'mark'}", "fail:it is too dark.", "x"
    items = [item(line, each) for line, each in enumerate(words)]
    with (
        progress.heard_by(lambda what, done, total: said.append(what)),
        Cluster(Setting(str(tmp_path)), 1, writing) as crew,
    ):
        found = {each.line: outcome for each, outcome in outcomes(items, crew)}
    assert [found[line].done for line in range(5)] == [True, False, True, False, True]
    assert found[1].why.startswith("twice a worker ended over it, the last one was lost")
    assert found[3].why == "it is too dark."
    assert (tmp_path / "marks").read_text() == "xx"
    assert "the worker of line 2 was lost; the line is taken again." in said


def test_a_worker_that_cannot_begin_ends_the_run_with_its_reason(tmp_path):
    crew = Cluster(Setting(str(tmp_path)), 1, refusing)
    with pytest.raises(Failed, match="no worker can be had: it says: there is no bread"), crew:
        list(outcomes([item(1, "x")], crew))
