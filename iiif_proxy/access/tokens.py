"""Bearer tokens: JWT, by PyJWT (the extra `jwt`)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iiif_proxy.access.callers import Caller
from iiif_proxy.errors import NotAuthenticated

CHALLENGE = 'Bearer realm="iiif"'
INVALID = f'{CHALLENGE}, error="invalid_token"'
LONGEST = 8192
LEEWAY = 10
DEFAULT = "member"


def made(said: Mapping[str, Any], path: Path) -> "ByToken":
    """`said` is the table of the policy. Raises ValueError."""
    try:
        import jwt
    except ImportError as cause:
        raise ValueError("jwt: needs the library PyJWT: pip install iiif-proxy[jwt]") from cause
    try:
        raw = path.read_bytes().strip()
    except OSError as cause:
        raise ValueError(f"{path}: cannot be read") from cause
    algorithm = said["algorithms"][0]
    if algorithm.startswith("HS") and len(raw) < 32:
        raise ValueError(f"{path}: is too short, a shared secret needs 32 bytes")
    try:
        key = jwt.get_algorithm_by_name(algorithm).prepare_key(raw)
    except Exception as cause:  # Of cryptography, or that it is not there.
        raise ValueError(f"{path}: is no key for {algorithm} ({cause})") from cause
    return ByToken(key, said)


class ByToken:
    """`Authorization: Bearer …`: signed, not expired, of the right issuer, for us."""

    vary: tuple[str, ...] = ("Authorization",)

    def __init__(self, key: Any, said: Mapping[str, Any]) -> None:
        self._key = key
        self._said = said

    def find(self, environ: dict[str, Any]) -> Caller | None:
        scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        import jwt

        said = self._said
        try:
            claims = jwt.decode(
                token.strip()[:LONGEST],
                self._key,
                algorithms=list(said["algorithms"]),
                issuer=said["issuer"],
                audience=list(said["audience"]),
                leeway=LEEWAY,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.ExpiredSignatureError:
            raise refused("This token is not valid any more.") from None
        except jwt.PyJWTError as cause:
            raise refused("This token is not valid here.", repr(cause)) from cause
        one = claims.get(said["claim"]) if "claim" in said else None
        if not isinstance(one, str) or not one:
            one = said.get("class", DEFAULT)
        return Caller(one, f"token {claims.get('sub', '')}", True)


def refused(sentence: str, cause: str | None = None) -> NotAuthenticated:
    return NotAuthenticated(sentence, cause, {"WWW-Authenticate": INVALID})
