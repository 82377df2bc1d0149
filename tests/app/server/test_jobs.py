"""Jobs end once: whatever a client sends twice, whatever is cancelled, wherever the process was killed."""

import asyncio
import json
import threading

import pytest

from hilum.app.server.absent import Cancelled, Full
from hilum.app.server.jobs import MOST_ATTEMPTS, Jobs
from hilum.app.server.ledger import Ledger
from hilum.app.server.runner import Listening, Runner
from hilum.values.errors import BadInput, Failed
from served import BOX, begun, disc, said, uploaded

AN_ID = "0" * 32


@pytest.fixture
def ledger(tmp_path):
    opened = Ledger(tmp_path / "state")
    yield opened
    opened.close()


def run(jobs, performers, *asked, first=None):
    """Runs until all that waits has ended; `first` is told of the runner before the asked are added."""

    async def lives():
        runner = Runner(jobs, performers)
        runner.start()
        if first is not None:
            await first(runner)
        added = [runner.add(*each) for each in asked]
        waiting = [job.id for job in added] or [row["id"] for row in jobs.ledger.all("SELECT id FROM job")]
        return [await runner.ended(id, 30) for id in waiting]

    return asyncio.run(lives())


def counting(jobs, done):
    """A performer whose effect is one entry in a list, written with the end of its job."""

    async def perform(job, heard):
        await asyncio.sleep(0)
        with jobs.ledger.writing():
            jobs.finish(job.id, {"number": job.spec["number"]})
        done.append(job.spec["number"])

    return {"count": perform}


def test_jobs_of_a_lane_are_done_in_order_and_lanes_beside_one_another(ledger):
    jobs, done = Jobs(ledger, 1000), []
    asked = [("count", f"lane {number % 3}", {"number": number}) for number in range(60)]
    ended = run(jobs, counting(jobs, done), *asked)
    assert {job.state for job in ended} == {"done"}
    assert sorted(done) == list(range(60))
    for lane in range(3):
        own = [number for number in done if number % 3 == lane]
        assert own == sorted(own)


def test_what_was_running_when_the_process_was_killed_is_done_once(ledger):
    jobs, done = Jobs(ledger, 1000), []
    ids = [jobs.add("count", "lane", {"number": number}).id for number in range(5)]
    jobs.start(ids[0])
    jobs.finish(ids[0], {"number": 0})  # done before the kill
    jobs.start(ids[1])  # killed while it ran
    ended = run(Jobs(ledger, 1000), counting(jobs, done))
    assert {job.state for job in ended} == {"done"}
    assert done == [1, 2, 3, 4]


def test_an_end_is_written_with_its_effect_or_not_at_all(ledger):
    jobs = Jobs(ledger, 1000)
    job = jobs.add("count", "lane", {})
    jobs.start(job.id)

    def torn():
        with ledger.writing():
            jobs.finish(job.id, {})
            raise Failed("the disk is full")

    with pytest.raises(Failed):
        torn()
    assert jobs.get(job.id).state == "running"
    jobs.finish(job.id, {})
    with pytest.raises(BadInput, match="ended already"):
        jobs.finish(job.id, {})


def test_a_job_that_ends_the_process_again_and_again_is_given_up(ledger):
    jobs, done = Jobs(ledger, 1000), []
    job = jobs.add("count", "lane", {"number": 0})
    for _ in range(MOST_ATTEMPTS):
        assert jobs.start(job.id)
        jobs.waiting()  # what a new process does first
    (ended,) = run(jobs, counting(jobs, done))
    assert (ended.state, done) == ("failed", [])
    assert "does not try again" in ended.problem["detail"]


def test_the_same_key_is_the_same_job(ledger):
    jobs = Jobs(ledger, 1000)
    first = jobs.add("count", "lane", {"number": 1}, "a key")
    assert jobs.add("count", "lane", {"number": 1}, "a key").id == first.id
    with pytest.raises(BadInput, match="Idempotency-Key"):
        jobs.add("count", "lane", {"number": 2}, "a key")


def test_too_many_that_wait_are_refused(ledger):
    jobs = Jobs(ledger, 2)
    for number in range(2):
        jobs.add("count", "lane", {"number": number})
    with pytest.raises(Full, match="2 jobs are waiting"):
        jobs.add("count", "lane", {})


def test_a_failed_job_ends_in_a_problem_and_the_next_of_its_lane_is_done(ledger):
    jobs, done = Jobs(ledger, 1000), []

    async def fails(job, heard):
        raise {"known": Failed("the sentence."), "unknown": RuntimeError("Canary^Yellow")}[job.spec["how"]]

    performers = {"fail": fails, **counting(jobs, done)}
    ended = run(
        jobs,
        performers,
        ("fail", "lane", {"how": "known"}),
        ("fail", "lane", {"how": "unknown"}),
        ("count", "lane", {"number": 3}),
    )
    assert [job.state for job in ended] == ["failed", "failed", "done"]
    assert ended[0].problem["detail"] == "the sentence."
    assert "Canary" not in json.dumps(ended[1].problem)
    assert "RuntimeError" in ended[1].problem["detail"]


def test_a_running_job_stops_where_it_next_says_how_far_it_is(ledger):
    jobs, begun_, reached = Jobs(ledger, 1000), threading.Event(), []

    def works(heard: Listening) -> None:
        heard("planes", 1, 100)
        begun_.set()
        heard.cancelled.wait(30)
        reached.append("told")
        heard("planes", 2, 100)
        reached.append("went on")

    async def perform(job, heard):
        await asyncio.get_running_loop().run_in_executor(None, works, heard)

    async def lives():
        runner = Runner(jobs, {"work": perform})
        job, waiting = runner.add("work", "lane", {}), runner.add("work", "lane", {})
        await asyncio.get_running_loop().run_in_executor(None, begun_.wait, 30)
        assert runner.progress(job.id) == {"what": "planes", "done": 1, "total": 100}
        runner.cancel(waiting.id)
        runner.cancel(job.id)
        return [await runner.ended(each.id, 30) for each in (job, waiting)]

    ended = asyncio.run(lives())
    assert [job.state for job in ended] == ["cancelled", "cancelled"]
    assert reached == ["told"]
    with pytest.raises(Cancelled):
        works(cancelled())


def cancelled() -> Listening:
    heard = Listening()
    heard.cancelled.set()
    return heard


def test_over_http_a_job_has_progress_an_end_and_a_result(client):
    image = uploaded(client, disc())
    job = client.post(f"/api/images/{image}/looks", json={"system": "medsam"})
    assert job.status_code == 202
    ended = client.get(f"/api/jobs/{job.json()['id']}", params={"wait": 120}).json()
    assert (ended["state"], ended["result"]["planes"]) == ("done", 1)
    late = client.request("DELETE", f"/api/jobs/{ended['id']}")
    assert (late.status_code, late.json()["detail"]) == (422, "the job has ended already: done.")
    assert client.get(f"/api/jobs/{AN_ID}").status_code == 404


def test_a_request_that_is_sent_again_with_its_key_is_done_once(client):
    session = begun(client, uploaded(client, disc()))
    address, body = f"/api/sessions/{session}/prompts", {"prompts": [BOX]}
    first, again = (client.post(address, json=body, headers={"idempotency-key": "one"}) for _ in range(2))
    assert first.json() == again.json()
    assert client.get(f"/api/sessions/{session}").json()["revision"] == 1
    other = client.post(address, json={"prompts": [BOX], "object": "b"}, headers={"idempotency-key": "one"})
    assert other.status_code == 422


def test_what_does_not_wait_is_told_where_its_job_is(client):
    session = begun(client, uploaded(client, disc()))
    answer = client.post(f"/api/sessions/{session}/prompts", json={"prompts": [BOX]}, params={"wait": 0})
    assert answer.status_code == 202
    ended = client.get(answer.headers["location"], params={"wait": 60}).json()
    assert ended["state"] == "done"
    assert ended["result"]["objects"] == client.get(f"/api/sessions/{session}").json()["objects"]
    wrong = said(client, session, {"kind": "points", "at": [[600, 18]]})
    assert wrong.status_code == 422
    assert wrong.json()["detail"] == "the point 600,18,0 lies outside the image of 60 × 40, counted from 0"
