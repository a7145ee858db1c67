"""The tables of the policy file beside classes, rules and presets: how callers are known."""

from collections.abc import Mapping

from iiif_proxy.access.authvalues import CHECKS
from iiif_proxy.access.values import (
    Check,
    algorithms,
    classes,
    duration,
    environ_key,
    header,
    one_of,
    text,
    words,
)

TABLES: Mapping[str, Mapping[str, Check]] = {
    # REMOTE_USER: the class of everybody who has one, or of each; `environ`: names the class.
    "who": {"remote_user": text, "users": classes, "environ": environ_key},
    # API keys: a file with a line `name class sha256:…` for each.
    "keys": {"file": text, "header": header, "query": text},
    # IIIF Authorization Flow: where viewers lead people to log in, and what they say.
    "auth": CHECKS,
    # Signed addresses: a file with a line `id secret` for each key, the first signs.
    "signing": {"file": text, "class": text},
    # Asking the origin, where rules have origin = true.
    "origin": {"ask": one_of("head", "get"), "remember": duration},
    # Bearer tokens: what they must say, and the claim that names a class.
    "jwt": {
        "file": text,
        "algorithms": algorithms,
        "issuer": text,
        "audience": words,
        "claim": text,
        "class": text,
    },
}
