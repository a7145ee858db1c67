"""The services of IIIF authorization, as a client of either version asks them."""

import json
import re
import time
from urllib.parse import quote

import pytest

from iiif_proxy.access.tickets import COOKIE, TOKEN, Expired, Tickets
from iiif_proxy.settings import SettingsError
from tests.access.conftest import MEMBER, PRIVILEGED, STRANGER, Heard, House, Housing
from tests.access.conftest import house as house  # the fixture

POLICY = """
[[rules]]
identifiers = "restricted/*"
public = { read = "nothing" }

[[rules]]
identifiers = "a.png"
public = { max_width = 150, regions = false }

[auth]
login = "/login?next={return}"
logout = "/logout?next={return}"
label = { en = "Log in to the Example Library", de = "Anmelden" }
"""
KIOSK = """
[[rules]]
identifiers = "restricted/*"
public = { read = "nothing" }

[auth]
profile = ["kiosk", "external"]
networks = ["10.1.0.0/16", "2001:db8::/32"]
"""
HERE = "http://here.example"
VIEWER = "https://viewer.example"
CLOSED = "restricted%2Fb.png"
CONTEXT = "http://iiif.io/api/auth/2/context.json"


@pytest.fixture
def library(house: Housing) -> House:
    return house(POLICY)


def told(answer: Heard) -> dict[str, object]:
    found = json.loads(answer.body)
    assert isinstance(found, dict)
    return found


def posted(answer: Heard) -> tuple[dict[str, object], str]:
    """The message of a page that posts one, and to whom."""
    assert answer.status == 200
    assert answer.get("Content-Type") == "text/html; charset=utf-8"
    assert answer.get("Cache-Control") == "no-store"
    found = re.search(r"window\.parent\.postMessage\((\{.*\}), (\".*\")\);", answer.body.decode())
    assert found is not None
    origin = json.loads(found[2])
    assert f"frame-ancestors {origin}" in answer.get("Content-Security-Policy")
    nonce = re.search(r'<script nonce="([\w-]{20,})">', answer.body.decode())
    assert nonce is not None
    assert f"script-src 'nonce-{nonce[1]}'" in answer.get("Content-Security-Policy")
    return json.loads(found[1]), origin


def token(library: House, one: str = MEMBER, origin: str = VIEWER, version: str = "") -> str:
    target = f"/iiif/-/auth/{version}token?messageId=m&origin={quote(origin, safe='')}"
    content, _ = posted(library.ask(target, one))
    return str(content["accessToken"])


def probe(library: House, name: str, bearer: str = "", **more: str) -> dict[str, object]:
    if bearer:
        more["HTTP_AUTHORIZATION"] = f"Bearer {bearer}"
    answer = library.ask(f"/iiif/-/auth/probe/{name}", **more)
    assert answer.status == 200
    assert answer.get("Cache-Control") == "no-store"
    assert answer.get("Access-Control-Allow-Origin") == "*"
    found = told(answer)
    assert (found["@context"], found["type"]) == (CONTEXT, "AuthProbeResult2")
    return found


def test_info_json_of_version_3_is_open_and_leads_to_the_services(library: House) -> None:
    answer = library.ask(f"/iiif/3/{CLOSED}/info.json")
    found = json.loads(answer.body)
    assert answer.status == 200
    assert "private" in answer.get("Cache-Control")
    assert "Authorization" in answer.get("Vary")
    assert found["@context"] == [CONTEXT, "http://iiif.io/api/image/3/context.json"]
    assert (found["width"], found["profile"]) == (600, "level2")
    own = f"{HERE}/iiif/-/auth"
    probing, old = found["service"]
    assert probing["id"] == f"{own}/probe/{CLOSED}"
    assert probing["type"] == "AuthProbeService2"
    [access] = probing["service"]
    assert (access["type"], access["profile"]) == ("AuthAccessService2", "active")
    assert access["id"] == f"{own}/access"
    label = {"en": ["Log in to the Example Library"], "de": ["Anmelden"]}
    assert access["label"] == label
    assert all(set(access[key]) == {"en"} for key in ("heading", "note", "confirmLabel"))
    tokens, logout = access["service"]
    assert (tokens["id"], tokens["type"]) == (f"{own}/token", "AuthAccessTokenService2")
    assert (logout["id"], logout["type"]) == (f"{own}/logout", "AuthLogoutService2")
    assert logout["label"]
    # For viewers that know 1.0 only.
    assert old["@context"] == "http://iiif.io/api/auth/1/context.json"
    assert (old["@id"], old["profile"]) == (f"{own}/access", "http://iiif.io/api/auth/1/login")
    assert old["label"] == "Log in to the Example Library"
    assert [one["@id"] for one in old["service"]] == [f"{own}/1/token", f"{own}/logout"]
    # The image itself stays closed, and what everybody may see has no services.
    assert library.ask(f"/iiif/3/{CLOSED}/full/max/0/default.jpg").status in {401, 403}
    assert "service" not in told(library.ask("/iiif/3/open%2Fc.png/info.json"))


def test_info_json_of_version_2_says_it_by_its_status(library: House) -> None:
    answer = library.ask(f"/iiif/2/{CLOSED}/info.json")
    found = told(answer)
    assert answer.status == 401
    assert answer.get("WWW-Authenticate").startswith("Bearer")
    assert answer.get("Content-Type").startswith("application/json")
    assert found["@context"] == "http://iiif.io/api/image/2/context.json"
    [old] = found["service"]  # type: ignore[misc]
    assert old["profile"] == "http://iiif.io/api/auth/1/login"  # type: ignore[index]
    bearer = {"HTTP_AUTHORIZATION": f"Bearer {token(library, version='1/')}"}
    again = library.ask(f"/iiif/2/{CLOSED}/info.json", HTTP_ORIGIN=VIEWER, **bearer)
    assert (again.status, told(again)) == (200, found)
    assert library.ask(f"/iiif/2/{CLOSED}/info.json", MEMBER).status == 200
    # Where there is less for strangers, they are sent there (1.0, 3.2).
    lower = library.ask("/iiif/2/a.png/info.json")
    assert (lower.status, lower.get("Location")) == (
        302, f"{HERE}/iiif/2/a.png;reduced/info.json",
    )  # fmt: skip
    assert library.ask("/iiif/2/a.png/info.json", MEMBER).status == 200
    shown = library.ask("/iiif/2/a.png;reduced/info.json")
    assert shown.status == 200
    assert told(shown)["@id"] == f"{HERE}/iiif/2/a.png;reduced"


def test_a_manifest_may_be_read_and_names_the_probe(library: House) -> None:
    found = json.loads(library.ask(f"/iiif/3/{CLOSED}/manifest.json").body)
    assert found["@context"] == [CONTEXT, "http://iiif.io/api/presentation/3/context.json"]
    body = found["items"][0]["items"][0]["items"][0]["body"]
    assert [one["type"] for one in body["service"][:2]] == ["ImageService3", "AuthProbeService2"]
    open_ = json.loads(library.ask("/iiif/3/open%2Fc.png/manifest.json").body)
    assert open_["@context"] == "http://iiif.io/api/presentation/3/context.json"


def test_the_probe_says_what_the_image_would(library: House) -> None:
    member, other = token(library), token(library, PRIVILEGED)
    assert probe(library, "open%2Fc.png")["status"] == 200
    refused = probe(library, CLOSED)
    assert refused["status"] == 401
    assert "substitute" not in refused
    assert refused["heading"]
    assert refused["note"]
    for bearer in (member, other):
        for origin in ({"HTTP_ORIGIN": VIEWER}, {}):
            found = probe(library, CLOSED, bearer, **origin)
            assert found == {"@context": CONTEXT, "type": "AuthProbeResult2", "status": 200}
    # By cookie or otherwise, as the image is asked for.
    answer = library.ask(f"/iiif/-/auth/probe/{CLOSED}", MEMBER)
    assert told(answer)["status"] == 200
    assert probe(library, "restricted%2Fnothing.png", member)["status"] == 404
    assert library.ask("/iiif/-/auth/probe/a%2F..%2Fb").status == 400


def test_a_token_is_of_one_site_and_opens_no_image(library: House) -> None:
    bearer = token(library)
    spoiled = bearer[:-4] + ("AAAA" if not bearer.endswith("AAAA") else "BBBB")
    for text, origin in ((bearer, "https://other.example"), (bearer, "null"), (spoiled, VIEWER)):
        assert probe(library, CLOSED, text, HTTP_ORIGIN=origin)["status"] == 401
    image = f"/iiif/3/{CLOSED}/full/100,/0/default.jpg"
    fields = {"HTTP_AUTHORIZATION": f"Bearer {bearer}", "HTTP_ORIGIN": VIEWER}
    assert library.ask(image, **fields).status in {401, 403}
    assert library.ask(image, HTTP_COOKIE=f"iiif_access={bearer}").status in {401, 403}
    assert library.ask(image, MEMBER).status == 200


def test_a_viewer_elsewhere_may_ask_with_a_token(library: House) -> None:
    """Browsers ask first whether that header may be sent."""
    preflight = {
        "HTTP_ORIGIN": VIEWER,
        "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "GET",
        "HTTP_ACCESS_CONTROL_REQUEST_HEADERS": "authorization",
    }
    for target in (f"/iiif/-/auth/probe/{CLOSED}", f"/iiif/2/{CLOSED}/info.json"):
        answer = library.ask(target, method="OPTIONS", **preflight)
        assert answer.status == 204
        assert answer.get("Access-Control-Allow-Origin") == "*"
        assert answer.get("Access-Control-Allow-Headers") == "authorization"
    assert library.ask(f"/iiif/-/auth/probe/{CLOSED}", method="POST").status == 405


def test_a_token_ends(library: House, monkeypatch: pytest.MonkeyPatch) -> None:
    bearer = token(library)
    assert probe(library, CLOSED, bearer)["status"] == 200
    later = time.time() + 301
    monkeypatch.setattr(time, "time", lambda: later)
    assert probe(library, CLOSED, bearer)["status"] == 401


def test_tiers(library: House) -> None:
    """Everybody has the image under another identifier, as strangers have it."""
    refused = probe(library, "a.png")
    [instead] = refused["substitute"]  # type: ignore[misc]
    assert refused["status"] == 401
    [service] = instead["service"]  # type: ignore[index]
    assert (service["id"], service["type"]) == (f"{HERE}/iiif/3/a.png;reduced", "ImageService3")
    assert probe(library, "a.png", token(library))["status"] == 200
    reduced = told(library.ask("/iiif/3/a.png;reduced/info.json"))
    assert "service" not in reduced
    assert reduced["maxWidth"] == 150
    for one in (STRANGER, MEMBER):
        image = library.ask("/iiif/3/a.png;reduced/full/max/0/default.png", one)
        assert image.image.size == (150, 100)
        assert image.get("Cache-Control").startswith("public")
        assert library.ask("/iiif/3/a.png;reduced/full/400,/0/default.png", one).status == 403
    assert library.ask("/iiif/3/a.png/full/max/0/default.png", MEMBER).image.size == (600, 400)
    # Nothing is reduced of what strangers may not see at all.
    assert library.ask(f"/iiif/3/{CLOSED};reduced/info.json", MEMBER).status in {401, 403}


def test_the_token_service(library: House) -> None:
    for slash in ("", "/"):
        target = f"/iiif/-/auth/token?messageId=ae3415&origin={VIEWER}{slash}"
        content, origin = posted(library.ask(target, MEMBER))
        assert origin == VIEWER
        assert content.pop("accessToken")
        assert content == {
            "@context": CONTEXT, "type": "AuthAccessToken2", "expiresIn": 300,
            "messageId": "ae3415",
        }  # fmt: skip
    content, _ = posted(library.ask(target))
    assert (content["type"], content["profile"]) == ("AuthAccessTokenError2", "missingAspect")
    assert content["messageId"] == "ae3415"
    content, _ = posted(library.ask(f"/iiif/-/auth/token?origin={VIEWER}", MEMBER))
    assert content["profile"] == "invalidRequest"
    old, _ = posted(library.ask(f"/iiif/-/auth/1/token?messageId=7&origin={VIEWER}/", MEMBER))
    assert set(old) == {"accessToken", "expiresIn", "messageId"}
    old, _ = posted(library.ask(f"/iiif/-/auth/1/token?messageId=7&origin={VIEWER}/"))
    assert (old["error"], old["messageId"]) == ("missingCredentials", "7")


def test_the_token_of_what_is_no_browser(library: House) -> None:
    """1.0, 2.2.3: JSON, and not for scripts of other sites."""
    answer = library.ask("/iiif/-/auth/1/token", MEMBER)
    assert (answer.status, answer.get("Content-Type")) == (200, "application/json")
    assert not answer.get("Access-Control-Allow-Origin")
    bearer = str(told(answer)["accessToken"])
    found = library.ask(f"/iiif/2/{CLOSED}/info.json", HTTP_AUTHORIZATION=f"Bearer {bearer}")
    assert found.status == 200
    refused = library.ask("/iiif/-/auth/1/token")
    assert (refused.status, told(refused)["error"]) == (401, "missingCredentials")


@pytest.mark.parametrize(
    "origin",
    ["", "null", "*", "viewer.example", "javascript:alert(1)", "https://a b", "https://x/../y",
     "https://x.example/path", "https://x.example;script-src *", "https://x'y", "ftp://x.example",
     "https://u@x.example", "https://x.example\\"],
)  # fmt: skip
def test_no_message_to_what_is_no_origin(library: House, origin: str) -> None:
    target = f"/iiif/-/auth/token?messageId=m&origin={quote(origin, safe='')}"
    answer = library.ask(target, MEMBER)
    assert answer.status == 400
    assert b"accessToken" not in answer.body


def test_nothing_in_a_message_ends_its_script(library: House) -> None:
    hostile = "</script><script>alert(1)</script>&\u2028"
    target = f"/iiif/-/auth/token?messageId={quote(hostile)}&origin={VIEWER}"
    answer = library.ask(target, MEMBER)
    content, _ = posted(answer)
    assert content["messageId"] == hostile
    assert answer.body.count(b"<script") == 1


def test_sites_that_are_not_trusted(house: Housing) -> None:
    library = house(POLICY + 'origins = ["https://viewer.example"]\n')
    assert token(library)
    target = "/iiif/-/auth/token?messageId=m&origin=https://other.example"
    content, origin = posted(library.ask(target, MEMBER))
    assert (content["profile"], origin) == ("invalidOrigin", "https://other.example")


def test_the_way_to_the_login_and_back(library: House) -> None:
    answer = library.ask(f"/iiif/-/auth/access?origin={VIEWER}")
    back = quote("/iiif/-/auth/done", safe="")
    assert (answer.status, answer.get("Location")) == (302, f"/login?next={back}")
    assert answer.get("Cache-Control") == "no-store"
    done = library.ask("/iiif/-/auth/done", MEMBER)
    assert b"You are logged in" in done.body
    assert b"window.close()" in done.body
    assert "frame-ancestors 'none'" in done.get("Content-Security-Policy")
    # Who is logged in already need not do it again.
    assert b"You are logged in" in library.ask("/iiif/-/auth/access", MEMBER).body
    assert b"You are not logged in" in library.ask("/iiif/-/auth/done").body
    # Wherever the request wants to go.
    hostile = library.ask("/iiif/-/auth/access?origin=https://evil.example&next=//evil.example")
    assert hostile.get("Location") == answer.get("Location")


def test_logout(library: House) -> None:
    answer = library.ask("/iiif/-/auth/logout", MEMBER)
    back = quote("/iiif/-/auth/logout?done=1", safe="")
    assert (answer.status, answer.get("Location")) == (302, f"/logout?next={back}")
    assert "iiif_access=; Path=/; Max-Age=0" in answer.get("Set-Cookie")
    assert b"You are logged out" in library.ask("/iiif/-/auth/logout?done=1").body


def test_a_login_elsewhere_is_told_the_whole_address(house: Housing) -> None:
    policy = POLICY.replace('"/login', '"https://sso.example/login')
    answer = house(policy).ask("/iiif/-/auth/access")
    back = quote(f"{HERE}/iiif/-/auth/done", safe="")
    assert answer.get("Location") == f"https://sso.example/login?next={back}"


@pytest.fixture
def kiosk(house: Housing) -> House:
    return house(KIOSK)


def test_a_kiosk_gets_a_cookie(kiosk: House) -> None:
    found = told(kiosk.ask(f"/iiif/3/{CLOSED}/info.json"))
    external, service = found["service"][0]["service"]  # type: ignore[index]
    assert external["profile"] == "external"
    assert "id" not in external
    assert (service["profile"], service["id"]) == ("kiosk", f"{HERE}/iiif/-/auth/kiosk")
    assert kiosk.ask("/iiif/-/auth/kiosk", REMOTE_ADDR="192.0.2.1").status == 403
    answer = kiosk.ask("/iiif/-/auth/kiosk", REMOTE_ADDR="10.1.2.3")
    cookie = answer.get("Set-Cookie")
    assert re.fullmatch(
        r"iiif_access=iiif-[\w-]+; Path=/; Max-Age=43200; HttpOnly; SameSite=Lax", cookie
    )
    secure = kiosk.ask("/iiif/-/auth/kiosk", REMOTE_ADDR="10.1.2.3", **{"wsgi.url_scheme": "https"})
    assert secure.get("Set-Cookie").endswith("; HttpOnly; SameSite=None; Secure")
    given = {"HTTP_COOKIE": "a=b; " + cookie.partition(";")[0]}
    image = f"/iiif/3/{CLOSED}/full/100,/0/default.jpg"
    assert kiosk.ask(image, **given).status == 200
    assert kiosk.ask(image, HTTP_COOKIE="iiif_access=iiif-AAAA").status in {401, 403}
    content, _ = posted(kiosk.ask(f"/iiif/-/auth/token?messageId=m&origin={VIEWER}", **given))
    bearer = str(content["accessToken"])
    assert probe(kiosk, CLOSED, bearer, HTTP_ORIGIN=VIEWER)["status"] == 200
    # A cookie is no token, either.
    assert probe(kiosk, CLOSED, cookie.partition("=")[2].partition(";")[0])["status"] == 401
    assert kiosk.ask("/iiif/-/auth/access").status == 404


def test_external_goes_by_the_address(kiosk: House) -> None:
    target = f"/iiif/-/auth/token?messageId=m&origin={VIEWER}"
    for address in ("10.1.9.9", "::ffff:10.1.9.9", "2001:db8::1"):
        content, _ = posted(kiosk.ask(target, REMOTE_ADDR=address))
        assert "accessToken" in content
        image = kiosk.ask(f"/iiif/3/{CLOSED}/full/100,/0/default.jpg", REMOTE_ADDR=address)
        assert image.status == 200
        assert "private" in image.get("Cache-Control")
    content, _ = posted(kiosk.ask(target, REMOTE_ADDR="10.2.0.1"))
    assert content["profile"] == "missingAspect"


def test_without_a_login_nothing_is_there(house: Housing) -> None:
    library = house(POLICY.partition("[auth]")[0])
    for name in ("token", "access", "probe/a.png", "logout", "done", "kiosk", ""):
        assert library.ask(f"/iiif/-/auth/{name}").status == 404
    assert library.ask(f"/iiif/3/{CLOSED}/info.json").status in {401, 403}
    assert library.ask("/iiif/3/a.png;reduced/info.json").status in {403, 404}


@pytest.mark.parametrize(
    "line, fault",
    [
        ('login = "//evil.example/"', "an address such as /login"),
        ('login = "javascript:alert(1)"', "an address such as /login"),
        ('profile = "passive"', "one of active, kiosk, external"),
        ('profile = "kiosk"', "networks: are needed for the profile kiosk"),
        ('class = "nobody"', "no such class: 'nobody'"),
        ('origins = ["viewer.example"]', "origins such as https://viewer.example.org"),
        ('networks = ["10.1"]', "addresses or networks"),
        ('reduced = "/x"', "the end of an identifier"),
        ('key_file = "nothing"', "key_file: cannot be read"),
        ('label = { en = 3 }', "texts by language"),
        ('logn = "/"', "no such key"),
        ("token_lifetime = 0", "a time such as"),
        ('note = "x"', "login: is needed for the profile active"),
    ],
)  # fmt: skip
def test_a_broken_table_stops_the_start(house: Housing, line: str, fault: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(fault)):
        house(f"[auth]\n{line}\n")


def test_a_key_of_ones_own(house: Housing) -> None:
    first = house(POLICY)
    (first.folder / "key").write_bytes(b"0123456789abcdef")
    policy = POLICY + 'key_file = "key"\n'
    bearer = token(house(policy))
    assert probe(house(policy, cache_dir=""), CLOSED, bearer)["status"] == 200
    # The one that is made is the same for all processes, and another.
    assert probe(house(POLICY), CLOSED, bearer)["status"] == 401
    assert probe(house(POLICY), CLOSED, token(house(POLICY)))["status"] == 200
    made = first.folder / "cache" / "auth.key"
    assert made.stat().st_mode & 0o777 == 0o600
    with pytest.raises(SettingsError, match=r"auth\.key_file: is needed"):
        house(POLICY, cache_dir="")
    (first.folder / "key").write_bytes(b"short")
    with pytest.raises(SettingsError, match="needs 16 bytes"):
        house(policy)


def test_tickets(monkeypatch: pytest.MonkeyPatch) -> None:
    tickets, classes = Tickets(b"k" * 16), ("public", "member")
    text = tickets.made(TOKEN, "member", VIEWER, 60)
    assert tickets.read(text, TOKEN, VIEWER, classes) == "member"
    assert tickets.read(text, TOKEN, None, classes) == "member"
    assert tickets.read(text, TOKEN, "", classes) is None
    assert tickets.read(text, COOKIE, VIEWER, classes) is None
    assert tickets.read(text, TOKEN, VIEWER, ["public"]) is None
    assert Tickets(b"l" * 16).read(text, TOKEN, VIEWER, classes) is None
    assert tickets.made(TOKEN, "member", VIEWER, 60) != text
    for broken in ("", "iiif-", "iiif-é", text[:-1], text + "A", "iiif-" + "A" * 86, text * 9):
        assert tickets.read(broken, TOKEN, VIEWER, classes) is None
    later = time.time() + 61
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(Expired):
        tickets.read(text, TOKEN, VIEWER, classes)
