"""Who may ask: the server's own name, no page of another origin, a token where one is set, no body over the cap."""

import pytest

from hilum.app.server.settings import Caps, Settings
from hilum.values.errors import BadInput
from served import disc

TOKEN = "a-token-of-some-length"


def test_a_name_that_is_not_the_servers_own_is_refused(client):
    """DNS rebinding: a page's own host name is made to point to this machine."""
    for host in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", ""):
        answer = client.get("/api/", headers={"host": host})
        assert answer.status_code == 403, host
        assert answer.headers["content-type"] == "application/problem+json"
    for host in ("127.0.0.1:8000", "localhost:8000", "LOCALHOST", "[::1]:8000"):
        assert client.get("/api/", headers={"host": host}).status_code == 200, host


def test_a_page_of_another_origin_is_refused(client):
    own = {"origin": "http://127.0.0.1:8000"}
    assert client.post("/api/sessions", json={}, headers=own).status_code == 422
    for origin in ("https://evil.example", "null", "http://127.0.0.1:9999", "http://localhost:8000"):
        assert client.post("/api/images", content=disc(), headers={"origin": origin}).status_code == 403, origin
        assert client.get("/api/images", headers={"origin": origin}).status_code == 403, origin
    assert client.post("/api/images", content=disc(), headers={"sec-fetch-site": "cross-site"}).status_code == 403


def test_a_token_comes_by_header_or_by_the_address_and_then_by_cookie(serve):
    client = serve(token=TOKEN)
    refused = client.get("/api/")
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert client.get("/api/", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert client.get("/api/", headers={"authorization": "Bearer another"}).status_code == 401
    assert client.get("/api/?token=another").status_code == 401
    assert client.post(f"/api/sessions?token={TOKEN}", json={}).status_code == 401
    sent = client.get(f"/api/systems?token={TOKEN}&x=1", follow_redirects=False)
    assert (sent.status_code, sent.headers["location"]) == (303, "/api/systems?x=1")
    cookie = sent.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert client.get("/api/").status_code == 200
    away = client.get(f"//evil.example/?token={TOKEN}", follow_redirects=False)
    assert not away.headers.get("location", "").startswith("//")


def test_another_address_wants_a_token(tmp_path):
    with pytest.raises(BadInput, match="give a --token"):
        Settings(state=tmp_path, host="0.0.0.0")
    with pytest.raises(BadInput, match="at least 8 characters"):
        Settings(state=tmp_path, host="0.0.0.0", token="short")
    assert Settings(state=tmp_path, host="0.0.0.0", token=TOKEN).token == TOKEN


def test_a_body_over_the_cap_is_refused_whether_it_says_its_length_or_not(serve):
    client = serve(caps=Caps(body=10_000, json=1_000))
    assert client.post("/api/images", content=bytes(10_001)).status_code == 413

    def pieces():
        for _ in range(20):
            yield bytes(1_000)

    unsaid = client.post("/api/images", content=pieces(), headers={"content-type": "application/octet-stream"})
    assert unsaid.status_code == 413
    assert unsaid.json()["detail"] == "a request like this has at most 10,000 bytes here."
    words = {"image": "0" * 32, "system": "x" * 2_000}
    assert client.post("/api/sessions", json=words).status_code == 413
    assert client.get("/api/images").json() == {"images": []}


def test_every_answer_lets_a_browser_do_nothing_but_show_it(client):
    for address in ("/api/", "/api/images/nothing", "/nothing", "/api/images/../../secret"):
        headers = client.get(address).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in headers
    asked = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    assert client.options("/api/images", headers=asked).status_code == 403


def test_no_folder_is_listed_and_no_path_is_an_id(client):
    for address in ("/api/images/..%2f..%2fetc%2fpasswd", "/docs", "/redoc", "/state/", "/api/images/%2e%2e", "/.git/"):
        answer = client.get(address)
        assert answer.status_code in (404, 422), address
        assert answer.headers["content-type"] == "application/problem+json"
    begun = client.post("/api/sessions", json={"image": "0" * 32, "system": "../../adapter"})
    assert begun.status_code == 404
    assert "adapter" not in begun.text


def test_what_was_sent_is_not_repeated(client):
    for body in ({"image": "Canary^Yellow", "system": "scout"}, {"Canary": 1}, "Canary", ["Canary"]):
        answer = client.post("/api/sessions", json=body)
        assert answer.status_code == 422
        assert "Canary^" not in answer.text
    torn = client.post("/api/sessions", content=b'{"Canary', headers={"content-type": "application/json"})
    assert (torn.status_code, "Canary" in torn.text) == (422, False)
