"""Many at once: prompts in flight on one look keep their order, two users get their own answers, memory has bounds."""

import asyncio
from contextlib import asynccontextmanager

import httpx
import pytest

from hilum.app.server.application import application
from hilum.app.server.house import House
from hilum.app.server.settings import Caps, Settings
from served import disc

ADDRESS = "http://127.0.0.1:8000"


@asynccontextmanager
async def asking(tmp_path, **caps):
    """A client that has many requests in flight, and the house behind it."""
    house = House(Settings(state=tmp_path / "state", backend="torch", caps=Caps(**caps)))
    served = application(house)
    async with served.router.lifespan_context(served):
        transport = httpx.ASGITransport(served, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=ADDRESS, timeout=120) as client:
            yield client, house


async def begun(client, radius, system="threshold"):
    image = (await client.post("/api/images", content=disc(radius))).json()["id"]
    return (await client.post("/api/sessions", json={"image": image, "system": system})).json()["id"]


async def say(client, session, left, name):
    prompts = [{"kind": "box", "low": [left, 2], "high": [left + 20, 36]}]
    answer = await client.post(f"/api/sessions/{session}/prompts", json={"object": name, "prompts": prompts})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_fifty_prompts_in_flight_on_one_look_are_all_answered_in_order(threshold, tmp_path):
    async def lives():
        async with asking(tmp_path) as (client, house):
            session = await begun(client, 9.0)
            told = await asyncio.gather(*(say(client, session, 5 + number % 20, "disc") for number in range(50)))
            now = (await client.get(f"/api/sessions/{session}")).json()
            return told, now, len(house.looks)

    told, now, looks = asyncio.run(lives())
    assert [each["revision"] for each in told] == list(range(1, 51))
    assert [len(each["objects"][0]["prompts"]) for each in told] == list(range(1, 51))
    assert [each["low"][0] for each in now["objects"][0]["prompts"]] == [5 + number % 20 for number in range(50)]
    assert looks == 1


def test_users_at_the_same_time_get_their_own_answers(threshold, tmp_path):
    radii = (5.0, 6.0, 7.0, 8.0, 9.0)

    async def lives():
        async with asking(tmp_path) as (client, _):
            sessions = [await begun(client, radius) for radius in radii]
            rounds = [say(client, session, 8, f"round {turn}") for turn in range(6) for session in sessions]
            told = await asyncio.gather(*rounds)
            return [told[number :: len(radii)] for number in range(len(radii))]

    for radius, own in zip(radii, asyncio.run(lives()), strict=True):
        area = sum((x - 20) ** 2 + (y - 18) ** 2 < radius**2 for x in range(60) for y in range(40))
        assert {each["objects"][-1]["voxels"] for each in own} == {area}
        assert len({each["id"] for each in own}) == 1
        assert [each["revision"] for each in own] == list(range(1, 7))


def test_two_sessions_about_one_image_share_the_look_and_nothing_else(threshold, tmp_path):
    async def lives():
        async with asking(tmp_path) as (client, house):
            first = await begun(client, 9.0)
            image = (await client.get(f"/api/sessions/{first}")).json()["image"]
            begin = {"image": image, "system": "threshold"}
            second = (await client.post("/api/sessions", json=begin)).json()["id"]
            await asyncio.gather(say(client, first, 8, "one"), say(client, second, 25, "two"))
            views = [(await client.get(f"/api/sessions/{each}")).json() for each in (first, second)]
            return views, len(house.looks)

    views, looks = asyncio.run(lives())
    assert [[each["name"] for each in view["objects"]] for view in views] == [["one"], ["two"]]
    assert looks == 1


def test_looks_and_images_at_hand_stay_within_their_caps(threshold, tmp_path):
    async def lives():
        async with asking(tmp_path, looks=3, images_memory=60 * 40 * 2) as (client, house):
            for _ in range(8):
                await say(client, await begun(client, 9.0), 8, "disc")
            return len(house.looks), len(house.images._kept)

    looks, images = asyncio.run(lives())
    assert looks <= 3
    assert images <= 2


@pytest.mark.parametrize("cap", [2])
def test_sessions_over_the_cap_have_no_room(threshold, tmp_path, cap):
    async def lives():
        async with asking(tmp_path, sessions=cap) as (client, _):
            first = await begun(client, 9.0)
            image = (await client.get(f"/api/sessions/{first}")).json()["image"]
            begin = {"image": image, "system": "threshold"}
            answers = [await client.post("/api/sessions", json=begin) for _ in range(cap)]
            await client.delete(f"/api/sessions/{first}")
            return [each.status_code for each in (*answers, await client.post("/api/sessions", json=begin))]

    assert asyncio.run(lives()) == [201, 503, 201]
