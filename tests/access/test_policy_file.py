"""The policy file: what it may say, and what stops the start, with line and reason."""

import textwrap
from pathlib import Path

import pytest

from iiif_proxy.access.policy import Policy, Rules
from iiif_proxy.access.reading import PolicyError, parse
from iiif_proxy.iiif.model import Features
from iiif_proxy.proxy import IIIFProxy
from iiif_proxy.settings import SettingsError

FEATURES = Features(formats=("jpg", "png", "webp"))


def policy(text: str) -> Policy:
    return parse(textwrap.dedent(text).encode(), Path("policy.toml"), FEATURES)


def faults(text: str) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        policy(text)
    return caught.value.faults


def test_an_empty_file_has_the_defaults() -> None:
    found = policy("")
    assert dict(found.classes) == dict.fromkeys(("public", "member", "privileged"), Rules())
    assert found.rules("anything") == found.classes


def test_every_key() -> None:
    found = policy("""
        [who]
        remote_user = "member"
        users = { alice = "staff" }
        environ = "app.class"

        [classes.public]
        read = "any"
        create = "declared"
        outside = "unstored"
        max_width = 1000
        max_height = 800
        max_area = 500000
        formats = ["jpg", "webp"]
        rotation_arbitrary = false
        regions = false
        rate = "60/minute; 500 per hour"
        rate_class = "5/10 seconds"
        retention = "30d"
        origin = true

        [classes.staff]
    """)
    assert found.classes["public"] == Rules(
        "any", "declared", "unstored", 1000, 800, 500000, ("jpg", "webp"), False, False,
        "60 per 1 minute; 500 per 1 hour", "5 per 10 second", 30 * 86400, True,
    )  # fmt: skip
    assert found.classes["staff"] == Rules()
    assert found.settings["who"]["users"] == {"alice": "staff"}


def test_rules_by_pattern() -> None:
    found = policy("""
        [classes.public]
        create = "declared"
        [[rules]]
        identifiers = ["restricted/*", "*.raw"]
        public = { read = "nothing" }
        [[rules]]
        identifiers = "restricted/open-*"
        public = { read = "any", max_width = 200 }
    """)

    def public(name: str) -> Rules:
        rules = found.rules(name)
        assert rules is not None
        return rules["public"]

    assert public("a.tif").read == "any"
    for name in ("restricted/a", "Restricted/A/b", "x.RAW", "RESTRICTED/x.raw"):
        assert (public(name).read, public(name).makes) == ("nothing", "none")
    assert public("restricted/open-a") == Rules(create="declared", max_width=200)
    assert found.rules("restricted/a")["member"] == Rules()  # type: ignore[index]


@pytest.mark.parametrize(
    "name",
    [
        "/restricted/a", "//restricted//a", "restricted%2fa", "%2572estricted/a", "x\\restricted",
        "restricted\\a", "restricted;v=1/a", "restricted /a", "restricted./a", "\uff52estricted/a",
        "restricted%2Fa?x", "%72estricted/a",
    ],
)  # fmt: skip
def test_spellings_that_an_origin_may_take_for_another(name: str) -> None:
    """Rules for the one are not to be had around by the other: nobody gets it so."""
    found = policy("""
        [[rules]]
        identifiers = "restricted/*"
        public = { read = "nothing" }
    """)
    rules = found.rules(name)
    assert rules is None or rules["public"].read == "nothing" or name == "x\\restricted"
    assert policy("").rules(name) is not None


@pytest.mark.parametrize(
    "text, line, reason",
    [
        ("[classes.public]\nread = 'all'", 2, "classes.public.read: 'all' is not one of nothing"),
        ("[classes.public]\n\nreed = 'any'", 3, "classes.public.reed: no such key"),
        ("[klasses.public]", 1, "klasses: no such table"),
        ("\n[classes.public]\nmax_height = 9", 3, "max_height: needs max_width"),
        ("[classes.public]\nmax_width = 0", 2, "0 is not a whole number"),
        ("[classes.public]\nmax_width = true", 2, "True is not a whole number"),
        ("[classes.public]\nread='existing'\ncreate='any'", 3, 'must be "none"'),
        ("[classes.public]\nformats = ['png']", 2, "is not a list with jpg"),
        ("[classes.public]\nformats = ['jpg', 'bmp']", 2, "out of jpg, png, webp"),
        ("[classes.public]\nrate = '60'", 2, "'60' is not a rate"),
        ("[classes.public]\nrate = '0/minute'", 2, "is not a rate"),
        ("[classes.public]\nretention = 'soon'", 2, "'soon' is not a time"),
        ("classes = 3", 1, "classes: must be a table"),
        ("[[rules]]\npublic = {}", 1, "rules: needs identifiers"),
        ("[[rules]]\nidentifiers = 'a'\n[[rules]]\nidentifiers = 'b'\nguest = {}", 5, "no such"),
        ("[[rules]]\nidentifiers = 'a'\npublic.read = 'x'", 3, "rules.public.read: 'x' is not"),
        ("[who]\nremote_user = 'guest'", 2, "no such class: 'guest'"),
        ("[who]\n[who.users]\nbob = 'guest'", 3, "who.users.bob: no such class"),
        ("[who]\nenviron = 'HTTP_X_CLASS'", 2, "that no visitor can set"),
        ("[classes.'a b']", 1, "is no name"),
    ],
)  # fmt: skip
def test_faults_have_a_line_and_a_reason(text: str, line: int, reason: str) -> None:
    [fault] = faults(text)
    assert fault.startswith(f"policy.toml: line {line}: "), fault
    assert reason in fault


def test_what_is_no_toml_has_its_place_too() -> None:
    [fault] = faults("[classes.public]\nread = any")
    assert "line 2" in fault


def test_all_faults_at_once_stop_the_start(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text("[classes.public]\nread = 1\ncreate = 2")
    with pytest.raises(SettingsError) as caught:
        IIIFProxy(environ={"IIIF_PROXY_POLICY": str(path), "IIIF_PROXY_SOURCE": "file:/x/{id}"})
    assert len(caught.value.faults) == 2
    assert all(fault.startswith("IIIF_PROXY_POLICY: ") for fault in caught.value.faults)
    with pytest.raises(SettingsError, match="cannot be read"):
        IIIFProxy(environ={"IIIF_PROXY_POLICY": str(tmp_path / "none")})
    with pytest.raises(SettingsError, match=r"IIIF_PROXY_PUBLIC_CREATE: is said in the policy"):
        IIIFProxy(environ={"IIIF_PROXY_POLICY": str(path), "IIIF_PROXY_PUBLIC_CREATE": "declared"})
    with pytest.raises(SettingsError, match=r"IIIF_PROXY_CLASSIFY: 'nowhere:x' cannot be imported"):
        IIIFProxy(
            environ={"IIIF_PROXY_CLASSIFY": "nowhere:x", "IIIF_PROXY_PUBLIC_CREATE": "declared"}
        )
