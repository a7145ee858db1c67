"""The services of both versions as info.json declares them, and what they say, as JSON values."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from iiif_proxy.access.auth import ACTIVE, EXTERNAL, KIOSK, Auth, Label
from iiif_proxy.iiif.describe import present

CONTEXT = "http://iiif.io/api/auth/2/context.json"
CONTEXT_1 = "http://iiif.io/api/auth/1/context.json"
PROFILES_1 = {
    ACTIVE: "http://iiif.io/api/auth/1/login",
    KIOSK: "http://iiif.io/api/auth/1/kiosk",
    EXTERNAL: "http://iiif.io/api/auth/1/external",
}
# Errors of the access token (2.0, 4.5), and what 1.0 calls them (2.2.6).
ERRORS = {
    "invalidRequest": ("invalidRequest", 400, "The request is not complete."),
    "invalidOrigin": ("invalidOrigin", 403, "Viewers of this site get no access here."),
    "missingAspect": ("missingCredentials", 401, "You are not logged in."),
    "invalidAspect": ("invalidCredentials", 401, "You are not logged in as you should be."),
    "expiredAspect": ("invalidCredentials", 401, "You are not logged in any more."),
    "unavailable": ("unavailable", 503, "Who you are cannot be found out at the moment."),
}


@dataclass(frozen=True, slots=True)
class Places:
    """Where the services are. `own` is the public address of `/-/auth`."""

    own: str

    def probe(self, encoded: str) -> str:
        return f"{self.own}/probe/{encoded}"

    @property
    def access(self) -> str:
        return f"{self.own}/access"

    @property
    def kiosk(self) -> str:
        return f"{self.own}/kiosk"

    @property
    def token(self) -> str:
        return f"{self.own}/token"

    @property
    def token_1(self) -> str:
        return f"{self.own}/1/token"

    @property
    def logout(self) -> str:
        return f"{self.own}/logout"

    @property
    def done(self) -> str:
        return f"{self.own}/done"


def probe(auth: Auth, places: Places, encoded: str) -> dict[str, Any]:
    """Section 5.1 of 2.0: the probe service of an image with all that hangs on it (2.1)."""
    return {
        "id": places.probe(encoded),
        "type": "AuthProbeService2",
        "errorHeading": by_language(auth.error_heading),
        "errorNote": by_language(auth.error_note),
        "service": [_access(auth, profile, places) for profile in ordered(auth.profiles)],
    }


def _access(auth: Auth, profile: str, places: Places) -> dict[str, Any]:
    """Section 3.1."""
    found: dict[str, Any] = {"type": "AuthAccessService2", "profile": profile}
    if profile == ACTIVE:
        found["id"] = places.access
        found["heading"] = by_language(auth.heading)
        found["note"] = by_language(auth.note)
        found["confirmLabel"] = by_language(auth.confirm)
    elif profile == KIOSK:
        found["id"] = places.kiosk
    found["label"] = by_language(auth.label)
    token = {
        "id": places.token,
        "type": "AuthAccessTokenService2",
        "errorHeading": by_language(auth.error_heading),
        "errorNote": by_language(auth.error_note),
    }
    found["service"] = [token]
    if profile == ACTIVE:
        label = by_language(auth.logout_label)
        found["service"].append({"id": places.logout, "type": "AuthLogoutService2", "label": label})
    return present(found)


def services_1(auth: Auth, places: Places) -> list[dict[str, Any]]:
    """Section 2 of 1.0: the same for older viewers."""
    return [_access_1(auth, profile, places) for profile in ordered(auth.profiles)]


def _access_1(auth: Auth, profile: str, places: Places) -> dict[str, Any]:
    base = PROFILES_1[ACTIVE].rpartition("/")[0]
    found: dict[str, Any] = {
        "@context": CONTEXT_1,
        "profile": PROFILES_1[profile],
        "label": in_english(auth.label),
        "failureHeader": in_english(auth.error_heading),
        "failureDescription": in_english(auth.error_note),
        "service": [{"@id": places.token_1, "profile": f"{base}/token"}],
    }
    if profile == ACTIVE:
        found["@id"] = places.access
        found["header"] = in_english(auth.heading)
        found["description"] = in_english(auth.note)
        found["confirmLabel"] = in_english(auth.confirm)
        label = in_english(auth.logout_label)
        found["service"].append({"@id": places.logout, "profile": f"{base}/logout", "label": label})
    elif profile == KIOSK:
        found["@id"] = places.kiosk
    return present(found)


def ordered(profiles: Sequence[str]) -> list[str]:
    """As clients should try them (3.3): the least interaction first."""
    return [profile for profile in (EXTERNAL, KIOSK, ACTIVE) if profile in profiles]


def token(text: str, seconds: float, message: str, version: int) -> dict[str, Any]:
    """Section 4.4 of 2.0, 2.2.2 of 1.0. `message`: "" where nobody gave one (JSON of 1.0)."""
    found: dict[str, Any] = {"accessToken": text, "expiresIn": int(seconds)}
    if version == 2:
        found = {"@context": CONTEXT, "type": "AuthAccessToken2", **found}
    return found | ({"messageId": message} if message else {})


def token_error(error: str, auth: Auth, message: str, version: int) -> dict[str, Any]:
    """Section 4.5 of 2.0, 2.2.6 of 1.0. `error` is one of ERRORS."""
    old, _, sentence = ERRORS[error]
    found: dict[str, Any]
    if version == 2:
        found = {
            "@context": CONTEXT,
            "type": "AuthAccessTokenError2",
            "profile": error,
            "heading": by_language(auth.error_heading),
            "note": by_language((("en", sentence),)),
        }
    else:
        found = {"error": old, "description": sentence}
    return found | ({"messageId": message} if message else {})


def probe_result(
    status: int, auth: Auth, note: str | None, substitute: dict[str, Any] | None
) -> dict[str, Any]:
    """Section 5.2. `note` says why not; None: what the policy says."""
    found: dict[str, Any] = {"@context": CONTEXT, "type": "AuthProbeResult2", "status": status}
    if status >= 400:
        if substitute is not None:
            found["substitute"] = [substitute]
        found["heading"] = by_language(auth.error_heading)
        found["note"] = by_language((("en", note),) if note else auth.error_note)
    return found


def substitute(base: str, size: tuple[int, int]) -> dict[str, Any]:
    """What strangers may have of an image (5.2, 7.1): `base` is the URI of that service."""
    width, height = size
    return {
        "id": f"{base}/full/max/0/default.jpg",
        "type": "Image",
        "format": "image/jpeg",
        "width": width,
        "height": height,
        "service": [{"id": base, "type": "ImageService3", "profile": "level2"}],
    }


def by_language(label: Label) -> dict[str, list[str]]:
    """As the Presentation API writes texts (4.1 of 3.0)."""
    return {language: [text] for language, text in label}


def in_english(label: Label) -> str:
    """1.0 has one language."""
    return dict(label).get("en") or (label[0][1] if label else "")
