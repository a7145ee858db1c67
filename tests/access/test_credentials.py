"""Signed addresses and tokens: what opens, for how long, and what does not."""

import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from iiif_proxy import cli
from iiif_proxy.access import signed
from iiif_proxy.settings import SettingsError
from tests.access.conftest import House, Housing

CLOSED = '[classes.public]\nread = "nothing"\n'
SIGNING = f'{CLOSED}[signing]\nfile = "secrets"\n'
OLD, NEW = "2025 old-secret-old-secret\n", "2026 new-secret-new-secret\n"
SHARED = b"0123456789abcdef0123456789abcdef"
PATH = "/iiif/3/restricted%2Fb.png/full/^100,/0/default.jpg"
SITE = "https://images.example.org/mount"


# Signed addresses


def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], here: House, *words: str
) -> str:
    monkeypatch.setenv("IIIF_PROXY_POLICY", str(here.policy))
    assert cli.main(["sign", *words]) == 0
    url = capsys.readouterr().out.strip()
    assert url.startswith(SITE)
    return url.removeprefix(SITE)


def test_a_signed_address_opens_itself_only(
    house: Housing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    (tmp_path / "secrets").write_text(NEW + OLD)
    here = house(SIGNING, upscaling="on", max_width="9000")
    target = command(monkeypatch, capsys, here, SITE + PATH)
    heard = here.ask(target)
    assert heard.status == 200
    assert heard.get("Cache-Control").startswith("private")
    # However a browser escapes it; remembered or not.
    for spelling in (target, target.replace("^", "%5E"), target.replace("%2F", "%2f")):
        assert here.ask(spelling).status == 200
    path, query = target.split("?")
    for other in (
        f"{path}?{query[:-1]}0" if query[-1] != "0" else f"{path}?{query[:-1]}1",
        f"{path.replace('100', '101')}?{query}",
        f"{path.replace('%2F', '/')}?{query}",
        f"/iiif/3/restricted%2Fb.png/info.json?{query}",
        f"{path}?{query.replace('member', 'privileged')}",
        f"{path}?{query.replace('2026', '2025')}",
        f"{path}?{query.replace('2026', 'none')}",
        f"{path}?{query.replace('sig-until=1', 'sig-until=2')}",
        f"{path}?sig=",
        f"{path}?sig=%FF",
    ):
        assert here.ask(other).status == 403, other
    assert here.ask(path).status == 403
    # With credentials beside it, it is the signature that counts, and it is no good elsewhere.
    assert here.ask(f"/iiif/3/a.png/info.json?{query}", "member").status == 403


def test_its_time_ends(house: Housing, tmp_path: Path) -> None:
    (tmp_path / "secrets").write_text(NEW)
    here = house(SIGNING)
    secrets = signed.read(tmp_path / "secrets")
    for seconds, status in ((60, 200), (-1, 403)):
        until = int(time.time()) + seconds
        url = signed.sign("http://here.example/iiif/3/a.png/info.json", secrets, "/iiif", "member",
                          until)  # fmt: skip
        heard = here.ask(url.removeprefix("http://here.example"))
        assert heard.status == status
    assert b"time" in heard.body


def test_keys_are_changed_without_a_gap(house: Housing, tmp_path: Path) -> None:
    (tmp_path / "secrets").write_text(OLD)
    url = signed.sign(
        "/iiif/3/a.png/info.json", signed.read(tmp_path / "secrets"), "/iiif", "member", 10**10
    )
    for keys, status in ((OLD, 200), (NEW + OLD, 200), (NEW, 403)):
        (tmp_path / "secrets").write_text(keys)
        assert house(SIGNING).ask(url).status == status


@pytest.mark.parametrize("text", ["", "one", "one short", "a secret-secret-secret\n" * 2])
def test_a_broken_file_of_secrets_stops_the_start(
    house: Housing, tmp_path: Path, text: str
) -> None:
    (tmp_path / "secrets").write_text(text)
    with pytest.raises(SettingsError, match="secrets") as caught:
        house(SIGNING)
    assert "secret-secret" not in str(caught.value)


def test_what_cannot_be_signed_is_said(
    house: Housing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    assert cli.main(["sign", SITE + PATH]) == 2
    (tmp_path / "secrets").write_text(NEW)
    monkeypatch.setenv("IIIF_PROXY_POLICY", str(house(SIGNING).policy))
    for words in (
        [f"{SITE}/elsewhere/a"],
        [f"{SITE}{PATH}?x=1"],
        ["--class", "guest", SITE + PATH],
        ["--for", "ever", SITE + PATH],
    ):
        assert cli.main(["sign", *words]) == 2
        assert "new-secret" not in capsys.readouterr().err
    url = signed.sign(SITE + PATH, {"k": b"s" * 20}, "/iiif", "member", 5)
    query = dict(parse_qsl(urlsplit(url).query))
    assert urlencode(query) == urlsplit(url).query
    assert query["sig-until"] == "5"


# Tokens

JWT = """
[jwt]
file = "key"
algorithms = ["{}"]
issuer = "https://login.example.org"
audience = "iiif"
claim = "image_class"
"""
CLAIMS = {"iss": "https://login.example.org", "aud": "iiif", "sub": "alice"}


def token(key: Any, algorithm: str, seconds: int = 60, **claims: Any) -> str:
    found = CLAIMS | {"exp": int(time.time()) + seconds} | claims
    return jwt.encode({k: v for k, v in found.items() if v is not None}, key, algorithm)


def asked(here: House, text: str) -> Any:
    return here.ask("/iiif/3/a.png/info.json", HTTP_AUTHORIZATION=f"Bearer {text}")


@pytest.mark.parametrize("algorithm", ["HS256", "RS256", "ES256"])
def test_tokens(house: Housing, tmp_path: Path, algorithm: str) -> None:
    private: Any = SHARED
    public = SHARED
    if algorithm != "HS256":
        rsa_or_ec: Any = (
            rsa.generate_private_key(65537, 2048)
            if algorithm == "RS256"
            else ec.generate_private_key(ec.SECP256R1())
        )
        private = rsa_or_ec
        public = rsa_or_ec.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    (tmp_path / "key").write_bytes(public)
    here = house(CLOSED + JWT.format(algorithm) + "[classes.member]\nmax_width = 99")
    heard = asked(here, token(private, algorithm))
    assert heard.status == 200
    assert b'"maxWidth": 99' in heard.body
    assert heard.get("Cache-Control").startswith("private")
    assert "Authorization" in heard.get("Vary")
    assert b"maxWidth" not in asked(here, token(private, algorithm, image_class="privileged")).body
    assert asked(here, token(private, algorithm, image_class="public")).status == 403
    assert asked(here, token(private, algorithm, image_class="unheard")).status == 403
    for bad in (
        token(private, algorithm, seconds=-60),
        token(private, algorithm, exp=None),
        token(private, algorithm, iss="https://evil.example"),
        token(private, algorithm, aud="other"),
        token(private, algorithm, aud=None),
        token(private, algorithm, nbf=int(time.time()) + 600),
        token(private, algorithm)[:-4] + "AAAA",
        token(b"another secret, of 32 bytes or more", "HS256"),
        jwt.encode(CLAIMS | {"exp": 10**10}, None, "none"),  # type: ignore[arg-type]
        confused(public) if algorithm != "HS256" else "x.y.z",
        "",
    ):
        heard = asked(here, bad)
        assert heard.status == 401, bad
        assert 'error="invalid_token"' in heard.get("WWW-Authenticate")
    heard = here.ask("/iiif/3/a.png/info.json")
    assert (heard.status, heard.get("WWW-Authenticate")) == (401, 'Bearer realm="iiif"')
    # Another scheme is the application's.
    assert here.ask("/iiif/3/a.png/info.json", HTTP_AUTHORIZATION="Basic eA==").status == 401


def confused(public: bytes) -> str:
    """Signed with the public key as if it were a shared secret: PyJWT itself refuses to make it."""
    import base64
    import hashlib
    import hmac
    import json

    def part(raw: bytes) -> str:
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    body = ".".join(
        part(json.dumps(value).encode())
        for value in ({"alg": "HS256", "typ": "JWT"}, CLAIMS | {"exp": 10**10})
    )
    return f"{body}.{part(hmac.new(public, body.encode(), hashlib.sha256).digest())}"


@pytest.mark.parametrize(
    "text, reason",
    [
        (JWT.format("none"), "'none'"),
        (JWT.format('HS256", "RS256'), "not beside others"),
        (JWT.format("RS256"), "is no key for RS256"),
        (JWT.format("HS256").replace("issuer", "#"), "jwt.issuer: is needed"),
        (JWT.format("HS256").replace('"key"', '"no"'), "cannot be read"),
        (JWT.format("HS256").replace('"key"', '"small"'), "is too short"),
    ],
)
def test_broken_settings_of_tokens(house: Housing, tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "key").write_bytes(SHARED)
    (tmp_path / "small").write_bytes(b"secret")
    with pytest.raises(SettingsError, match=reason):
        house(CLOSED + text)
