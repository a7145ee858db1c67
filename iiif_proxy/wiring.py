"""From settings to rooms: the parts list."""

import contextlib
import dataclasses
import errno
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from iiif_proxy.cluster import Leases, Link, News
from iiif_proxy.concurrency import Circuits, Gate, KeyLocks, SingleFlight
from iiif_proxy.errors import ProxyError
from iiif_proxy.iiif.model import Extras, Features, Limits
from iiif_proxy.iiif.presets import PresetError, Presets, from_words
from iiif_proxy.iiif.urls import encode
from iiif_proxy.imaging.apart import HERE, Apart, Jobs
from iiif_proxy.imaging.color import converts
from iiif_proxy.imaging.encode import EncodeOptions, available
from iiif_proxy.imaging.look import Look
from iiif_proxy.imaging.memory import frugal
from iiif_proxy.imaging.reading import Reading
from iiif_proxy.imaging.resample import Scaling
from iiif_proxy.imaging.routes import describe, describe_parts
from iiif_proxy.imaging.sessions import Sessions
from iiif_proxy.imaging.watermark import Watermark, font_for, picture
from iiif_proxy.paging import Paging
from iiif_proxy.publisher import Publisher
from iiif_proxy.ranges import Parts
from iiif_proxy.service import ImageService, recipe_of, version_of
from iiif_proxy.settings import Settings, SettingsError
from iiif_proxy.sharing import elsewhere_of, of_bucket, shared
from iiif_proxy.sources.app import AppSource
from iiif_proxy.sources.base import Source
from iiif_proxy.sources.bucket import BucketSource
from iiif_proxy.sources.cache import SourceCache, some_may_be_shown
from iiif_proxy.sources.file import FileSource
from iiif_proxy.sources.http import HttpSource
from iiif_proxy.sources.receive import ProbeParts
from iiif_proxy.stores.base import NullStore, Store
from iiif_proxy.stores.bucket import opened
from iiif_proxy.stores.disk import DiskStore
from iiif_proxy.stores.published import Published
from iiif_proxy.stores.retention import Retention
from iiif_proxy.stores.shared import SharedStore
from iiif_proxy.upstream import Upstream
from iiif_proxy.values import BUCKETS
from iiif_proxy.web.errors import guard
from iiif_proxy.web.peers import Peers

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
log = logging.getLogger(__name__)
# Of the derivative cache's bound, for what is remembered of sources.
RECORDS_SHARE = 50
# And for all tiles of one source, made before they are asked for (0.2 to 0.5 bytes a pixel).
ONE_SOURCE_SHARE = 20
RECORDS_LEAST = 64 << 20
BYTES_A_PIXEL = 4
LEAST_WORKERS = 2
PURGED, PURGED_ALL = "purged", "purged all"
LEAST_DECODERS = 4
# Seconds: a role's credentials may have to be asked for.
SIGNING_TIMEOUT = 10


def outside(settings: Settings, peers: Peers, circuits: Circuits) -> App:
    """The origin as a WSGI application, or one that has nothing."""
    if settings.origin is None:
        return nothing
    return guard(
        Upstream(
            settings.origin,
            connect_timeout=settings.connect_timeout,
            read_timeout=settings.read_timeout,
            preserve_host=settings.preserve_host,
            trusted=peers.trusts,
            circuits=circuits,
        )
    )


def nothing(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    body = b"Nothing is here.\n"
    start_response(
        "404 Not Found",
        [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))],
    )
    return [body]


def sources_of(settings: Settings, app: App | None, circuits: Circuits) -> list[Source]:
    """One source a template. Without a wrapped app, `app:` is the origin, by HTTP directly."""
    found: list[Source] = []
    for template in settings.source:
        scheme, _, rest = template.partition(":")
        if scheme == "file":
            found.append(FileSource(template))
        elif scheme == "app" and app is not None:
            found.append(AppSource(template, app))
        elif scheme == "app" and settings.origin is None:
            raise SettingsError(
                ["IIIF_PROXY_ORIGIN: is needed, or a IIIF_PROXY_SOURCE that is not app:"]
            )
        else:
            options: dict[str, Any] = {
                "connect_timeout": settings.connect_timeout,
                "read_timeout": settings.read_timeout,
                "total_timeout": settings.source_timeout,
                "redirect_hosts": settings.redirect_hosts,
                "circuits": circuits,
            }
            if scheme in BUCKETS:
                found.append(bucket_source_of(template, **options))
                continue
            url = f"{settings.origin}/{rest.lstrip('/')}" if scheme == "app" else template
            found.append(HttpSource(url, **options))
    return found


def bucket_source_of(template: str, **options: Any) -> BucketSource:
    return of_bucket(
        "IIIF_PROXY_SOURCE",
        lambda: BucketSource(template, lambda root: opened(root, SIGNING_TIMEOUT), **options),
    )


def service_of(
    settings: Settings,
    app: App | None,
    circuits: Circuits,
    link: Link | None = None,
    rules: str = "",
    for_all: Callable[[str], bool] = lambda identifier: True,
    lifetimes: Callable[[], Mapping[str, float]] | None = None,
) -> ImageService:
    """`link` leads to the other machines. `rules` names the policy, `for_all` says whether it lets
    everybody have an identifier, `lifetimes` what is made for whom goes when it was not read for
    so many seconds."""
    frugal()
    folder = made(settings.cache_dir)
    records: Store = NullStore()
    bytes_store: Store = NullStore()
    derivatives: Store = NullStore()
    retention = None
    if folder is not None:
        records = DiskStore(folder / "records", records_size(settings))
        bytes_store = DiskStore(folder / "sources", settings.source_cache_size, digest=False)
        derivatives = kept = DiskStore(
            folder / "derivatives", settings.cache_size, fsync=settings.fsync
        )
        if lifetimes is not None:
            retention = Retention(kept, lifetimes)
    derivatives = shared(settings, folder, derivatives)
    news = News(link, folder / "cluster") if link and folder else None
    flights = SingleFlight(folder and folder / "locks")
    workers = workers_of(settings)
    memory = settings.memory or half_of_memory()
    features = features_of(settings)
    reading = Reading(
        settings.source_max_pixels,
        dpi=settings.pdf_dpi,
        partial=settings.partial,
        seconds=settings.decode_timeout,
    )
    jobs = jobs_of(settings)
    limits = Limits(settings.max_width, settings.max_height, settings.max_area)
    options = options_of(settings)
    look = look_of(settings)
    recipe = recipe_of(options, look, limits, features)
    sessions = Sessions(folder and folder / "sessions", memory // 2, look)
    found = sources_of(settings, app, circuits)
    published = None
    # A static server cannot tell the canonical spelling of a URL from the others it answers.
    wanted = settings.publish and not settings.canonical_redirect
    if folder is not None and wanted and some_may_be_shown(found[:1]):
        published = Published(folder / "published", folder / "derivatives", recipe + rules)
    sources = SourceCache(
        found,
        probe_with(reading, jobs),
        probe_parts_with(sessions, recipe),
        records,
        bytes_store,
        flights,
        folder=folder,
        ttl=settings.source_ttl,
        unknown_ttl=settings.unknown_ttl,
        stale_if_error=settings.stale_if_error,
        stale_after=settings.stale_after,
        max_bytes=settings.source_max_bytes,
        patience=settings.source_timeout + settings.connect_timeout,
        unshow=lambda identifier: published.unpublish(encode(identifier)) if published else None,
    )

    def told(identifier: str | None) -> None:
        if news is not None:
            kind = PURGED_ALL if identifier is None else PURGED
            news.tell(kind, identifier or "")

    service = ImageService(
        sources,
        derivatives,
        flights,
        Gate(
            memory // 2 // BYTES_A_PIXEL // workers,
            # The other half of the threads goes on with what is cheap.
            longest_dear=max(1, settings.threads // 2),
            locks=KeyLocks(folder / "locks") if folder else None,
        ),
        features=features,
        limits=limits,
        options=options,
        look=look,
        recipe=recipe,
        publisher=Publisher(published, sources, derivatives, settings.max_age, for_all),
        sessions=sessions,
        folder=folder,
        write_ahead=settings.write_ahead,
        predict=settings.predict,
        room=settings.cache_size // ONE_SOURCE_SHARE,
        paging=Paging(settings.page_separator, derivatives, reading, jobs),
        jobs=jobs,
        patience=settings.queue_timeout,
        retention=retention,
        leases=Leases(link) if link and settings.cache_url else None,
        purged=told,
        elsewhere=elsewhere_of(settings, derivatives),
    )
    if news is not None:
        near = derivatives.near if isinstance(derivatives, SharedStore) else derivatives

        def forget_all() -> None:
            sources.forget_all()
            near.purge_all()

        # Asked anew, origins tell of most that a purge was for.
        heard = {PURGED: service.forget, PURGED_ALL: lambda _: service.forget_all()}
        news.listen(heard, forget_all, sources.forget_all)
    return service


def records_size(settings: Settings) -> int:
    return max(settings.cache_size // RECORDS_SHARE, RECORDS_LEAST)


def made(folder: Path | None) -> Path | None:
    """The cache's folder. One that cannot be made is a mistake; one that is full or read-only
    may still have hits."""
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        if cause.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise SettingsError(
                [f"IIIF_PROXY_CACHE_DIR: {str(folder)!r} cannot be made: {cause.strerror}"]
            ) from cause
    return folder


def workers_of(settings: Settings) -> int:
    """How many processes share the machine's memory."""
    return settings.workers or max(LEAST_WORKERS, os.cpu_count() or 1)


def half_of_memory() -> int:
    """Of the machine's, or of what its control group allows."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            limits.append(int(Path(path).read_text()))
    return min(limits) // 2


def jobs_of(settings: Settings) -> Jobs:
    """Twice as many at once as there are processors: one that hangs does not hold up the rest."""
    if not settings.decode_apart:
        return HERE
    most = max(LEAST_DECODERS, 2 * (os.cpu_count() or 1))
    return Apart(settings.decode_timeout, most, settings.queue_timeout)


def probe_with(reading: Reading, jobs: Jobs = HERE) -> Callable[[str, bool], dict[str, Any] | None]:
    """Read a header: its facts as JSON values, or None while it has not come whole."""

    def probe_values(path: str, whole: bool) -> dict[str, Any] | None:
        info = describe(path, reading, whole, jobs)
        return None if info is None else dataclasses.asdict(info)

    return probe_values


def probe_parts_with(sessions: Sessions, recipe: str) -> ProbeParts:
    """The same by parts."""

    def probe_values(parts: Parts, fingerprint: str) -> dict[str, Any] | None:
        info = describe_parts(parts, version_of(fingerprint, recipe), sessions)
        return None if info is None else dataclasses.asdict(info)

    return probe_values


def features_of(settings: Settings) -> Features:
    here = available()
    formats = settings.formats or here
    faults = [
        f"IIIF_PROXY_FORMATS: {name} cannot be written here, only {', '.join(here)}"
        for name in formats
        if name not in here
    ] + [
        f"IIIF_PROXY_PREFERRED_FORMATS: {name} is not among the formats {', '.join(formats)}"
        for name in settings.preferred_formats
        if name not in formats
    ]
    if faults:
        raise SettingsError(faults)
    return Features(
        formats=formats,
        upscaling=settings.upscaling,
        rotation_arbitrary=settings.rotation_arbitrary,
        tile_size=settings.tile_size,
        max_pixels=settings.max_pixels,
        preferred_formats=settings.preferred_formats,
    )


def presets_of(settings: Settings) -> Presets:
    """The presets of the settings, all of which can be made here. Raises SettingsError."""
    try:
        found = from_words(dict(settings.presets))
    except PresetError as error:
        raise SettingsError([f"IIIF_PROXY_PRESETS: {error}"]) from None
    faults = found.faults(features_of(settings))
    if faults:
        raise SettingsError([f"IIIF_PROXY_PRESETS: {fault}" for fault in faults])
    return found


def look_of(settings: Settings) -> Look:
    return Look(
        background=settings.background,
        corners=settings.rotation_background,
        profile=settings.color_profile,
        cmyk=cmyk_of(settings.cmyk_profile),
        scaling=Scaling(settings.filter, settings.linear_light),
        sharpen=settings.sharpen,
        threshold=settings.bitonal,
        mark=mark_of(settings),
    )


def mark_of(settings: Settings) -> Watermark | None:
    text, path = settings.watermark
    font, size, rgba = "", (0, 0), b""
    if text:
        try:
            font = font_for(text, str(settings.watermark_font or ""))
        except ValueError as cause:
            raise SettingsError([f"IIIF_PROXY_WATERMARK_FONT: {cause}"]) from cause
    elif path is None:
        return None
    else:
        try:
            size, rgba = picture(str(path))
        except (OSError, ProxyError) as cause:
            fault = f"IIIF_PROXY_WATERMARK: {str(path)!r} is no picture that can be read here"
            raise SettingsError([fault]) from cause
    return Watermark(
        position=settings.watermark_position,
        percent=settings.watermark_size,
        least=settings.watermark_min,
        tiles=settings.watermark_tiles,
        text=text,
        font=font,
        size=size,
        rgba=rgba,
    )


def cmyk_of(path: Path | None) -> bytes:
    """The profile of CMYK that has none; b"" for plain subtraction."""
    if path is None:
        return b""
    try:
        profile = path.read_bytes()
    except OSError as cause:
        fault = f"IIIF_PROXY_CMYK_PROFILE: {str(path)!r} cannot be read: {cause.strerror}"
        raise SettingsError([fault]) from cause
    if not converts(profile, "CMYK"):
        raise SettingsError([f"IIIF_PROXY_CMYK_PROFILE: {str(path)!r} is no profile of CMYK"])
    return profile


def options_of(settings: Settings) -> EncodeOptions:
    return EncodeOptions(
        jpeg_quality=settings.jpeg_quality,
        jpeg_subsampling=settings.jpeg_subsampling,
        jpeg_progressive=settings.jpeg_progressive,
        jpeg_lossless=settings.jpeg_lossless,
        webp_quality=settings.webp_quality,
        webp_method=settings.webp_method,
        avif_quality=settings.avif_quality,
        avif_speed=settings.avif_speed,
        png_compression=settings.png_compression,
        avif_subsampling=settings.avif_subsampling,
        jp2_quality=settings.jp2_quality,
        tiff_compression=settings.tiff_compression,
        rights=settings.keep_rights,
    )


def extras_of(settings: Settings) -> Callable[[str], Extras]:
    """What info.json says besides: `{id}` in the settings becomes the encoded identifier."""

    def extras(identifier: str) -> Extras:
        def filled(value: Any) -> Any:
            if isinstance(value, str):
                return value.replace("{id}", encode(identifier))
            if isinstance(value, list):
                return [filled(part) for part in value]
            if isinstance(value, dict):
                return {name: filled(part) for name, part in value.items()}
            return value

        return Extras(
            rights=filled(settings.rights),
            license=filled(settings.license),
            attribution=filled(settings.attribution),
            logo=filled(settings.logo),
            part_of=filled(settings.part_of),
            see_also=filled(settings.see_also),
            service=filled(settings.service),
        )

    return extras
