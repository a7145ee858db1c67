"""Presentation API 3.0: a manifest that shows one image."""

from collections.abc import Sequence
from typing import Any

from iiif_proxy.iiif.describe import present
from iiif_proxy.iiif.model import Box, Extras, ImageInfo, Limits
from iiif_proxy.iiif.params import largest

CONTEXT = "http://iiif.io/api/presentation/3/context.json"
CONTENT_TYPE = f'application/ld+json;profile="{CONTEXT}"'
THUMBNAIL = (400, 400)


def document(
    info: ImageInfo,
    uri: str,
    version: int,
    label: str,
    limits: Limits,
    extras: Extras,
    annotations: str | None = None,
    thumbnails: Sequence[tuple[int, int]] | None = None,
    guards: Extras | None = None,
) -> dict[str, Any]:
    """`uri` is the image's base URI, `version` that of its Image API; `annotations`: the URL of an
    annotation page; `thumbnails`: the sizes that may be asked, None: any; `guards`: the services
    that lead to a login, with their contexts."""
    guards = guards or Extras()
    whole = Box(0, 0, info.width, info.height)
    width, height = largest(whole, limits, False)
    small_width, small_height = largest(whole, limits, False, THUMBNAIL)
    if thumbnails is not None:
        small_width, small_height = nearest(thumbnails, small_width) or (width, height)
    service = [service_of(uri, version)]
    # In 2.1 `full` is the image's own size, which limits may forbid.
    reduced = (width, height) != (info.width, info.height)
    largest_word = "max" if version == 3 or reduced else "full"
    plain = f"!{small_width},{small_height}" if thumbnails is None else f"{small_width},"
    small = f"{small_width},{small_height}" if version == 3 else plain
    image = {
        "id": f"{uri}/full/{largest_word}/0/default.jpg",
        "type": "Image",
        "format": "image/jpeg",
        "width": width,
        "height": height,
        "service": [*service, *(guards.service or [])],
    }
    thumbnail = {
        "id": f"{uri}/full/{small}/0/default.jpg",
        "type": "Image",
        "format": "image/jpeg",
        "width": small_width,
        "height": small_height,
        "service": service,
    }
    canvas = canvas_of(uri)
    painting = {
        "id": f"{canvas}/painting",
        "type": "Annotation",
        "motivation": "painting",
        "body": image,
        "target": canvas,
    }
    notes = [{"id": annotations, "type": "AnnotationPage"}] if annotations else None
    return present(
        {
            "@context": [*guards.context, CONTEXT] if guards.context else CONTEXT,
            "id": f"{uri}/manifest.json",
            "type": "Manifest",
            "label": {"none": [label]},
            "rights": extras.rights,
            "requiredStatement": _statement(extras.attribution),
            "thumbnail": [thumbnail],
            "items": [
                present(
                    {
                        "id": canvas,
                        "type": "Canvas",
                        "label": {"none": ["1"]},
                        "width": info.width,
                        "height": info.height,
                        "thumbnail": [thumbnail],
                        "items": [
                            {"id": f"{canvas}/page", "type": "AnnotationPage", "items": [painting]}
                        ],
                        "annotations": notes,
                    }
                )
            ],
        }
    )


def nearest(sizes: Sequence[tuple[int, int]], width: int) -> tuple[int, int] | None:
    """The smallest at least as wide, else the largest."""
    found = sorted(sizes)
    return next((size for size in found if size[0] >= width), found[-1] if found else None)


def canvas_of(uri: str) -> str:
    """Where annotations of the image point to; as large as the image in its own pixels."""
    return f"{uri}/canvas/1"


def service_of(uri: str, version: int) -> dict[str, str]:
    """As Presentation 3.0 has it: services of Image API 2 keep their `@`."""
    if version == 3:
        return {"id": uri, "type": "ImageService3", "profile": "level2"}
    profile = "http://iiif.io/api/image/2/level2.json"
    return {"@id": uri, "@type": "ImageService2", "profile": profile}


def _statement(attribution: Any) -> dict[str, Any] | None:
    if not isinstance(attribution, str) or not attribution:
        return None
    return {"label": {"en": ["Attribution"]}, "value": {"none": [attribution]}}
