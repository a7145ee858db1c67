"""From settings to access: the policy in force, and the control that goes by it."""

import contextlib
import logging
import os
import stat
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from iiif_proxy.access.callers import Classify, callable_of
from iiif_proxy.access.control import Access, Control, Open
from iiif_proxy.access.reading import PolicyError
from iiif_proxy.access.regime import Given, establish
from iiif_proxy.access.session import App
from iiif_proxy.access.watch import Watch
from iiif_proxy.iiif.presets import Presets
from iiif_proxy.settings import Settings, SettingsError
from iiif_proxy.values import BUCKETS
from iiif_proxy.wiring import features_of

if TYPE_CHECKING:
    from iiif_proxy.service import ImageService
    from iiif_proxy.web.peers import Peers

log = logging.getLogger(__name__)
RULES_LENGTH = 12
# Sources that know nothing of a visitor.
UNASKABLE = ("file:", *(f"{scheme}:" for scheme in BUCKETS))


def watch_of(settings: Settings, peers: "Peers", app: App) -> Watch | None:
    """The policy in force; None: everybody may everything. Raises SettingsError."""
    short = settings.public_create != "any" or settings.public_rate
    if not (settings.policy or short):
        return None
    given = Given(
        file=settings.policy,
        features=features_of(settings),
        trusts=peers.trusts,
        prefix=settings.prefix,
        askable=not any(template.startswith(UNASKABLE) for template in settings.source),
        create=settings.public_create,
        rate=settings.public_rate,
        classify=_classify(settings),
        class_header=settings.class_header,
        app=app,
        client=peers.client,
        key=lambda: key_in(settings.cache_dir),
    )
    try:
        watch = Watch(lambda: establish(given))
        log.info("a policy is in force; a static server answers only what is open to every class")
        return watch
    except PolicyError as error:
        raise SettingsError([f"IIIF_PROXY_POLICY: {fault}" for fault in error.faults]) from error


def _classify(settings: Settings) -> Classify | None:
    if not settings.classify:
        return None
    try:
        return callable_of(settings.classify)
    except ValueError as reason:
        raise SettingsError([f"IIIF_PROXY_CLASSIFY: {settings.classify!r} {reason}"]) from reason


def access_of(
    settings: Settings,
    peers: "Peers",
    watch: Watch | None,
    service: "ImageService",
    presets: Callable[[], Presets],
) -> Access:
    """Raises SettingsError."""
    if watch is None:
        return Open(service.limits, service.features)
    # Takes 60 ms to import, which nobody need wait for who has no policy.
    from iiif_proxy.access.throttle import Throttle

    here = f"file://{shared_folder(settings)}/rates.sqlite3"
    store = settings.rate_store or settings.redis or here
    # What was asked for by name is missed; what comes with Redis goes with it.
    meanwhile = here if settings.redis and not settings.rate_store else None
    try:
        throttle = Throttle(store, peers.client, settings.rate_failing == "refuse", meanwhile)
    except ValueError as reason:
        raise SettingsError([f"IIIF_PROXY_RATE_STORE: {reason}"]) from reason
    return Control(
        watch, service.limits, service.features, service.name_of, presets, throttle, service.look
    )


def shared_folder(settings: Settings) -> Path:
    """Where processes of one machine that have the same cache, or none, count together."""
    if settings.cache_dir is not None:
        return settings.cache_dir
    folder = Path(tempfile.gettempdir(), f"iiif-proxy-{os.getuid()}")
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = os.lstat(folder)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o22:
        raise SettingsError([f"IIIF_PROXY_RATE_STORE: is needed, {folder} is somebody else's"])
    return folder


def key_in(folder: Path | None) -> bytes:
    """The key of this installation, made by the first process that needs it. Raises PolicyError."""
    if folder is None:
        raise PolicyError(["auth.key_file: is needed where IIIF_PROXY_CACHE_DIR is empty"])
    path, fresh = folder / "auth.key", folder / f".auth.key.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            return path.read_bytes()
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(os.urandom(32))
        # A link, because it fails where another process was the first.
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)
        fresh.unlink()
        return path.read_bytes()
    except OSError as cause:
        raise PolicyError(["auth.key_file: is needed, the cache cannot keep a key"]) from cause


def rules_of(watch: Watch | None) -> str:
    """A name of the policy in force, "" where there is none."""
    return "" if watch is None else f"-{watch.regime.policy.digest[:RULES_LENGTH]}"


def lifetimes_of(watch: Watch | None) -> Callable[[], Mapping[str, float]] | None:
    """What is made for whom goes when it was not read for so many seconds."""
    if watch is None:
        return None

    def lifetimes() -> Mapping[str, float]:
        classes = watch.regime.policy.classes.items()
        return {name: one.retention for name, one in classes if one.retention is not None}

    return lifetimes


def for_all(watch: Watch | None, identifier: str) -> bool:
    """Whether everybody may have whatever is stored of an identifier: a static server may then
    answer for it."""
    if watch is None:
        return True
    rules = watch.regime.policy.rules(identifier)
    return rules is not None and all(one.unlimited for one in rules.values())
