"""The settings: one frozen value, read once at the start.

A field is the variable `IIIF_PROXY_<NAME>`, the keyword of `IIIFProxy`, the line of `iiif-proxy
check` and the row of the README's table; a test holds them together.
"""

import difflib
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from iiif_proxy.values import (
    Network,
    boolean,
    bucket,
    callable_name,
    colour,
    corners,
    document,
    folder,
    formats,
    framers,
    header,
    location,
    mark,
    named,
    networks,
    number,
    one_of,
    plain,
    prefix,
    rate,
    redirect,
    redis_url,
    seconds,
    separator,
    size,
    some,
    some_seconds,
    templates,
    threshold,
    url,
    url_with_id,
    viewers,
    words,
)

VARIABLE = "IIIF_PROXY_"


class SettingsError(Exception):
    """What stops the start: one line per fault, each naming its variable."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def default_cache_dir() -> Path:
    if sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "iiif-proxy"


def setting(
    parse: Callable[[str], Any],
    default: str,
    sentence: str,
    unset: Callable[[], Any] | None = None,
) -> Any:
    """`unset` makes the value where nothing is given; `default` then only tells of it."""
    metadata = {"parse": parse, "default": default, "sentence": sentence, "unset": unset}
    return field(metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Every setting; `load` makes it."""

    # What stands behind
    origin: str | None = setting(url, "", "base URL of the origin that all other traffic passes to")
    source: tuple[str, ...] = setting(
        templates,
        "app:/{id}",
        "where the source of an identifier is; several are tried in order",
    )
    prefix: str = setting(prefix, "/iiif", "path below which IIIF requests are recognised")
    # The caches
    cache_dir: Path | None = setting(
        folder,
        "the user's cache folder",
        "the disk cache; empty: nothing is stored",
        unset=default_cache_dir,
    )
    cache_size: int = setting(size, "10GiB", "bound of the derivative cache")
    source_cache_size: int = setting(size, "10GiB", "bound of the source cache")
    cache_url: str | None = setting(
        bucket,
        "",
        "object store behind the derivative cache, for several machines (docs/scaling.md):"
        " s3://bucket/prefix, gs://…, az://…",
    )
    redis: str | None = setting(
        redis_url,
        "",
        "redis://host:6379/0, for several machines: purges reach all of them, rates are counted"
        " together, and what they share in the object store one of them makes",
    )
    cache_redirect: str | None = setting(
        redirect,
        "",
        "send visitors to that store for what only it has: `presign`, or the URL of a CDN over it",
    )
    fsync: bool = setting(boolean, "off", "flush every stored file to the disk before it counts")
    # Sources
    source_ttl: float = setting(
        seconds, "1h", "how long a source is fresh when the origin does not say"
    )
    unknown_ttl: float = setting(seconds, "2s", "how long an unknown identifier is remembered")
    stale_if_error: float = setting(
        seconds, "1d", "how long a stale source is still served while the origin fails"
    )
    stale_after: float = setting(
        seconds, "0.5s", "how long the origin has to confirm a stale source before it is served"
    )
    source_max_bytes: int = setting(size, "2GiB", "largest source file")
    source_max_pixels: int = setting(
        number(1), "500000000", "largest source in pixels (tiled TIFF: no limit)"
    )
    partial: bool = setting(
        boolean, "off", "show what can be decoded of a damaged source, instead of 502"
    )
    decode_timeout: float = setting(
        some_seconds, "2min", "processor's time that decoding one source may take"
    )
    decode_apart: bool = setting(
        boolean,
        "on",
        "decode what is no JPEG in processes of its own: a codec that crashes costs one request",
    )
    pdf_dpi: int = setting(number(18, 1200), "150", "pixels an inch that pages of a PDF have")
    page_separator: str | None = setting(
        separator,
        "",
        "what stands between an identifier and the number of a page, such as `;page=`",
    )
    connect_timeout: float = setting(some_seconds, "5s", "time to connect to the origin")
    read_timeout: float = setting(
        some_seconds, "30s", "time to the first byte of the origin, and between bytes"
    )
    redirect_hosts: tuple[str, ...] = setting(
        words, "", "other hosts that the origin may redirect an image to, such as `*.example.org`"
    )
    source_timeout: float = setting(some_seconds, "120s", "time for a source in total")
    # The Image API
    default_version: int = setting(
        lambda text: int(one_of("2", "3")(text)),
        "3",
        "version of requests that name none",
    )
    upscaling: bool = setting(boolean, "off", "3.0 `^` and 2.1 sizeAboveFull; needs a limit")
    rotation_arbitrary: bool = setting(boolean, "on", "rotation by any angle")
    max_width: int | None = setting(some(number(1)), "", "maxWidth, declared and enforced")
    max_height: int | None = setting(some(number(1)), "", "maxHeight; needs maxWidth")
    max_area: int | None = setting(some(number(1)), "", "maxArea, declared and enforced")
    max_pixels: int = setting(
        number(1), "250000000", "largest answer in pixels, whatever is declared"
    )
    tile_size: int = setting(number(64, 8192), "512", "side of the tiles that info.json offers")
    formats: tuple[str, ...] = setting(
        formats,
        "all that Pillow can write",
        "formats that may be asked, in order; jpg and png among them",
        unset=tuple,
    )
    preferred_formats: tuple[str, ...] = setting(words, "", "preferredFormats (3.0)")
    rights: str | None = setting(plain, "", "rights (3.0), and license (2.1) if that is not set")
    license: str | None = setting(plain, "", "license (2.1)")
    attribution: str | None = setting(plain, "", "attribution (2.1)")
    logo: str | None = setting(plain, "", "logo (2.1), a URL")
    part_of: Any = setting(document, "", "partOf (3.0), JSON; {id} is replaced")
    see_also: Any = setting(document, "", "seeAlso (3.0), JSON; {id} is replaced")
    service: Any = setting(document, "", "service of both versions, JSON; {id} is replaced")
    canonical_redirect: bool = setting(
        boolean,
        "off",
        "answer other spellings of an image with 303 to the canonical one",
    )
    # Named derivatives
    presets: tuple[tuple[str, str], ...] = setting(
        named,
        "",
        "named derivatives: `name=region/size/rotation/quality.format`, several;"
        " also `focus:x,y` as region and `400x300` as size, cropped to that shape",
    )
    preset_answer: str = setting(
        one_of("redirect", "image"),
        "redirect",
        "what `/-/preset/{name}/{id}` is: a redirect to the canonical address, or the image",
    )
    presets_in_info: str = setting(
        one_of("off", "seeAlso", "service"),
        "off",
        "name the presets of an image in its info.json (2.1: service only)",
    )
    # Encoding
    background: tuple[int, int, int] = setting(
        colour, "white", "colour behind transparency and turned corners"
    )
    rotation_background: tuple[int, int, int] | None = setting(
        corners,
        "transparent",
        "corners of what is turned by odd angles: a colour, or transparent where the format can",
    )
    color_profile: str = setting(
        one_of("strip", "embed", "keep"),
        "strip",
        "strip: sRGB without a profile; embed: sRGB that says so;"
        " keep: the source's own colours and profile, for RGB and gray",
    )
    cmyk_profile: Path | None = setting(
        folder, "", "ICC profile (a file) of CMYK sources that have none; empty: subtraction"
    )
    filter: str = setting(
        one_of("lanczos", "bicubic", "hamming", "bilinear", "box"),
        "lanczos",
        "how images are scaled; steps of 2 that the decoder or a tile can take are averages",
    )
    linear_light: bool = setting(
        boolean, "off", "average light, not its code: right for fine lines, several times slower"
    )
    sharpen: int = setting(
        number(0, 500), "0", "unsharp mask for what is scaled down, in percent (50 is much)"
    )
    watermark: tuple[str, Path | None] = setting(
        mark, "", "what is laid on answers: a picture's file, or words, as in `text:© Museum`"
    )
    watermark_font: Path | None = setting(
        folder, "", "font (a file) of such words; empty: DejaVu, Noto or Liberation Sans"
    )
    watermark_position: str = setting(
        one_of(
            *(f"{y}{x}" for y in ("top-", "", "bottom-") for x in ("left", "right")),
            "top",
            "center",
            "bottom",
        ),
        "bottom-right",
        "where the watermark is: corners, `top`, `left`, `center`, `right`, `bottom`",
    )
    watermark_size: int = setting(
        number(1, 100), "20", "how much of width and height it may take, in percent"
    )
    watermark_min: int = setting(
        number(0), "200", "smallest answer that has it: pixels of the longer side"
    )
    watermark_tiles: bool = setting(
        boolean, "off", "each tile has it too: without that, zooming is a way around it"
    )
    jpeg_quality: int = setting(number(1, 100), "80", "JPEG quality")
    jpeg_subsampling: str = setting(one_of("4:2:0", "4:2:2", "4:4:4"), "4:2:0", "JPEG chroma")
    jpeg_progressive: bool = setting(boolean, "off", "progressive JPEG")
    jpeg_lossless: bool = setting(
        boolean,
        "on",
        "sRGB JPEG at full size, and such tiles of a TIFF, are not encoded anew: their own bytes, "
        "turned by `jpegtran`",
    )
    webp_quality: int = setting(number(1, 100), "80", "WebP quality")
    webp_method: int = setting(number(0, 6), "1", "WebP effort")
    avif_quality: int = setting(number(1, 100), "65", "AVIF quality")
    avif_speed: int = setting(number(0, 10), "9", "AVIF speed; 10 is the fastest")
    png_compression: int = setting(number(0, 9), "1", "PNG compression level")
    jp2_quality: int = setting(number(20, 80), "40", "JPEG 2000 quality: PSNR in dB")
    avif_subsampling: str = setting(one_of("4:2:0", "4:2:2", "4:4:4"), "4:2:0", "AVIF chroma")
    tiff_compression: str = setting(
        one_of("deflate", "lzw", "none"), "deflate", "TIFF compression (bitonal: Group 4)"
    )
    bitonal: int = setting(
        threshold, "128", "the gray from which bitonal is white, 1 to 255, or `dither`"
    )
    keep_rights: bool = setting(
        boolean, "off", "author and copyright of the source (EXIF, IPTC, XMP) go on into answers"
    )
    # Who may what
    policy: Path | None = setting(
        folder, "", "file of the policy (docs/access.md): who may see and make what, and how much"
    )
    public_create: str = setting(
        one_of("none", "presets", "declared", "any"),
        "any",
        "without a policy: what strangers may have made that is not stored yet;"
        " declared: the tiles and sizes of info.json",
    )
    public_rate: str | None = setting(
        rate, "", "without a policy: how many images a stranger may have made, such as 60/minute"
    )
    rate_store: str = setting(
        str,
        "",
        "where rates are counted: empty for a file in the cache folder, redis://… for several"
        " machines",
    )
    rate_failing: str = setting(
        one_of("refuse", "allow"),
        "refuse",
        "while that does not answer: nothing new is made, or as much as is asked",
    )
    classify: str | None = setting(
        callable_name, "", "`package.module:function` that names the class of a caller"
    )
    class_header: str | None = setting(
        header, "", "header in which a trusted proxy names the class of a caller"
    )
    # Answers
    max_age: float = setting(
        seconds,
        "1h",
        "Cache-Control max-age of answers, at most the source's own freshness",
    )
    base_url: str | None = setting(url, "", "public base URL; empty: taken from each request")
    trusted_proxies: tuple[Network, ...] = setting(
        networks,
        "127.0.0.0/8 ::1",
        "peers whose X-Forwarded headers count; Unix sockets do",
    )
    trusted_hops: int = setting(
        number(1, 20), "1", "how many trusted proxies a request comes through"
    )
    preserve_host: bool = setting(boolean, "off", "pass the visitor's Host on to the origin")
    openseadragon_url: str | None = setting(
        plain, "", "script URL of another OpenSeadragon for the view page"
    )
    frame_ancestors: tuple[str, ...] = setting(
        framers,
        "",
        "who may show pages below `/-/` in a frame: `'self'`, or places such as"
        " `https://www.example.org`; nobody else may",
    )
    viewers: tuple[tuple[str, str], ...] = setting(
        viewers,
        "",
        "`Name=URL` with {manifest} in it, several: links on the view page to open an image there",
    )
    annotations: str | None = setting(
        url_with_id,
        "",
        "URL of the annotation page of an image, with {id}: in its manifest, and where notes begin",
    )
    recent: bool = setting(
        boolean, "off", "name the images asked for last on `/-/`, to whoever looks"
    )
    # Resources
    memory: int = setting(
        size, "0", "memory for decoded pixels, all processes together; 0: half of the machine's"
    )
    publish: bool = setting(
        boolean, "on", "let a static server answer from the cache (deploy/nginx-static.conf)"
    )
    accel: str | None = setting(
        location,
        "",
        "location in which nginx has the stored images, and sends them itself once we let it"
        " (deploy/nginx-accel.conf): /-derivatives/",
    )
    write_ahead: bool = setting(
        boolean, "on", "write all tiles of an image in the background once one was asked for"
    )
    predict: bool = setting(
        boolean, "on", "make the neighbours of a tile while nothing else is asked for"
    )
    queue_timeout: float = setting(seconds, "20s", "longest wait for a turn before 503")
    expensive: str = setting(
        one_of("wait", "later", "smaller"),
        "wait",
        "who asks for what takes long and is not stored: waits; or has 503 with Retry-After at"
        " once, while it is made; or a smaller one meanwhile, if there is one",
    )
    expensive_pixels: int = setting(
        number(1), "25000000", "what must be decoded for it: from so many pixels on it takes long"
    )
    workers: int = setting(
        number(0, 1024), "0", "processes of `serve`; 0: one a core, two at least"
    )
    threads: int = setting(number(1, 1024), "16", "threads of each process")
    broker: str | None = setting(
        redis_url,
        "",
        "Redis in which `warm --engine celery` and its workers meet (docs/scaling.md): redis://…",
    )
    log_level: str = setting(
        one_of("debug", "info", "warning", "error"),
        "info",
        "what is written to the log",
    )
    log_format: str = setting(one_of("text", "json"), "text", "lines of the log: text or json")


FIELDS: dict[str, Field[Any]] = {f.name: f for f in fields(Settings)}


def variable(name: str) -> str:
    return VARIABLE + name.upper()


def _text(value: Any) -> str:
    """A keyword's value as the variable would say it."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple) and all(isinstance(part, str) for part in value):
        return " ".join(value)
    if isinstance(value, dict | list):
        return json.dumps(value)
    return "" if value is None else str(value)


def load(environ: Mapping[str, str], overrides: Mapping[str, Any] | None = None) -> Settings:
    """Read every setting; keywords win over the environment.

    Raises SettingsError with one line per fault.
    """
    overrides = overrides or {}
    faults: list[str] = []
    values: dict[str, Any] = {}
    known = {variable(name): name for name in FIELDS}
    for name in environ:
        if name.startswith(VARIABLE) and name not in known:
            faults.append(_unknown(name, list(known)))
    for name in overrides:
        if name not in FIELDS:
            faults.append(_unknown(name, list(FIELDS)))
    for name, this in FIELDS.items():
        text = this.metadata["default"]
        if variable(name) in environ:
            text = environ[variable(name)].strip()
        if name in overrides:
            text = _text(overrides[name]).strip()
        given = variable(name) in environ or name in overrides
        unset = None if given else this.metadata["unset"]
        try:
            values[name] = unset() if unset else this.metadata["parse"](text)
        except ValueError as fault:
            faults.append(f"{variable(name)}: {text!r} is not {fault}")
    if not faults:
        faults = _together(values)
    if faults:
        raise SettingsError(faults)
    return Settings(**values)


def _unknown(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"{name}: no such setting" + (f"; did you mean {close[0]}?" if close else "")


def _together(values: Mapping[str, Any]) -> list[str]:
    """Faults that only show when settings are seen side by side."""
    faults = []
    if values["max_height"] and not values["max_width"]:
        faults.append(f"{variable('max_height')}: needs {variable('max_width')} beside it")
    if values["upscaling"] and not (values["max_width"] or values["max_area"]):
        faults.append(
            f"{variable('upscaling')}: needs {variable('max_width')} or {variable('max_area')}"
            " (the specification asks for a limit)"
        )
    if values["cache_redirect"] and not values["cache_url"]:
        faults.append(f"{variable('cache_redirect')}: needs {variable('cache_url')}")
    if values["accel"] and values["cache_dir"] is None:
        faults.append(
            f"{variable('accel')}: needs {variable('cache_dir')}: nginx sends what is stored there"
        )
    if values["policy"] and values["cache_redirect"] not in {None, "presign"}:
        faults.append(
            f"{variable('cache_redirect')}: presign only, with a policy: a CDN shows everything"
        )
    for name in ("public_create", "public_rate"):
        short = values[name] not in {"any", None}
        if values["policy"] and short:
            faults.append(f"{variable(name)}: is said in the policy, as [classes.public]")
    return faults


def table() -> str:
    """The README's table, as Markdown."""
    lines = ["| variable | default | what it is |", "|---|---|---|"]
    for name, this in FIELDS.items():
        default = this.metadata["default"]
        if default and not this.metadata["unset"]:
            default = f"`{default}`"
        lines.append(f"| `{variable(name)}` | {default} | {this.metadata['sentence']} |")
    return "\n".join(lines) + "\n"
