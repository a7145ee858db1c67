"""Named derivatives: what one is for an image, and how it is written.

`name=region/size/rotation/quality.format`, in the words of the Image API 3.0 (section 4) and three
more: the region `focus:x,y` (percent of width and height, or parts of 1 with a point: `0.5,0.3`),
the region `16x9` (the largest of that shape), and the size `400x300` (or `400×300`): the largest
box of that shape around the focus, then scaled to it; cropped, never stretched. A preset fits
every image: what is too large for one is made as large as it allows.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

from iiif_proxy.errors import InvalidRequest
from iiif_proxy.iiif.model import Box, Features, ImageInfo, Limits, Plan
from iiif_proxy.iiif.params import (
    ALL,
    FULL,
    NONE,
    NUMBER,
    Ratio,
    Region,
    Rotation,
    Size,
    largest,
    parse_quality,
    ratio,
    rotation_text,
)
from iiif_proxy.iiif.plan import LONGEST_SIDE, quality_of
from iiif_proxy.iiif.tiles import bounds, fit, half_up, turned, within

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_SHAPE = re.compile(r"(\^?)([1-9][0-9]{0,5})[x×]([1-9][0-9]{0,5})")
_FOCUS = re.compile(rf"focus:({NUMBER}),({NUMBER})")
_FORMAT = re.compile(r"[a-z0-9]{2,5}")
ENDLESS = 10**9
MIDDLE: tuple[Ratio, Ratio] = ((1, 2), (1, 2))
KEYS = ("label", "region", "size", "rotation", "quality", "format")

NAME_SENTENCE = "a name has letters, digits, - and _ only"
REGION_SENTENCE = (
    "the region must be full, square, x,y,w,h, pct:x,y,w,h, focus:x,y or a shape such as 16x9"
)
SIZE_SENTENCE = (
    "the size must be max, w, ,h w,h !w,h or pct:n, with ^ before it to enlarge,"
    " or 400x300 to crop to that shape"
)
FOCUS_SENTENCE = "a focus needs a size such as 400x300"


class PresetError(ValueError):
    """A preset that cannot be: `key` is where (`card.size`), the text why."""

    def __init__(self, key: str, why: str) -> None:
        super().__init__(f"{key}: {why}")
        self.key = key
        self.why = why


@dataclass(frozen=True, slots=True)
class Preset:
    """One named derivative. `region`, `size`, `rotation` are as they were written.

    `around` is the focus in parts of the full image; `shape` is what the region is cropped to
    around it, None for the region as it is.
    """

    name: str
    label: str
    region: str
    size: str
    rotation: str
    quality: str
    format: str
    within: Region
    around: tuple[Ratio, Ratio]
    shape: tuple[int, int] | None
    scaled: Size
    turned: Rotation

    @property
    def written(self) -> str:
        return f"{self.region}/{self.size}/{self.rotation}/{self.quality}.{self.format}"

    def plan(self, info: ImageInfo, limits: Limits, features: Features) -> Plan:
        """The derivative of one image: always one that may be asked for there."""
        box, degrees = self._box(info), self.turned.degrees
        can = _can(features, self.format, degrees)
        caps = _least(can, *bounds(limits))
        width, height = self._size(box, caps, self.scaled.enlarges and features.upscaling)
        if degrees % 90:
            width, height = _turnable(width, height, degrees, can)
        quality = quality_of(self.quality, info)
        return Plan(box, width, height, self.turned.mirror, degrees, quality, self.format)

    def _box(self, info: ImageInfo) -> Box:
        box = _inside(self.within, info)
        if self.shape is None:
            return box
        width, height = fit(*self.shape, box.width, box.height, None)
        (x, whole_x), (y, whole_y) = self.around
        left = half_up(max(0, 2 * info.width * x - width * whole_x), 2 * whole_x)
        top = half_up(max(0, 2 * info.height * y - height * whole_y), 2 * whole_y)
        return Box(
            min(max(left, box.x), box.x + box.width - width),
            min(max(top, box.y), box.y + box.height - height),
            width,
            height,
        )

    def _size(self, box: Box, caps: Limits, enlarge: bool) -> tuple[int, int]:
        """As asked if that can be, else the largest of the same shape that can."""
        size = self.scaled
        match size.kind:
            case "w":
                return largest(box, caps, enlarge, (size.width, ENDLESS))
            case "h":
                return largest(box, caps, enlarge, (ENDLESS, size.height))
            case "fit":
                return largest(box, caps, enlarge, (size.width, size.height))
            case "pct":
                value, unit = size.percent
                width = half_up(box.width * value, 100 * unit) or 1
                height = half_up(box.height * value, 100 * unit) or 1
            case "wh":
                width, height = size.width, size.height
            case _:
                return largest(box, caps, enlarge)
        small = enlarge or (width <= box.width and height <= box.height)
        if small and within(width, height, caps):
            return width, height
        if self.shape is not None or size.kind == "pct":
            return largest(box, caps, enlarge, (width, height))
        if not enlarge:
            caps = _least(caps, box.width, box.height, None)
        return largest(Box(0, 0, width, height), caps, False)


@dataclass(frozen=True, slots=True)
class Presets:
    """All presets, in the order they were written."""

    all: tuple[Preset, ...] = ()

    def __iter__(self) -> Iterator[Preset]:
        return iter(self.all)

    def __len__(self) -> int:
        return len(self.all)

    def get(self, name: str) -> Preset | None:
        return next((preset for preset in self.all if preset.name == name), None)

    def plans(self, info: ImageInfo, limits: Limits, features: Features) -> Mapping[str, Plan]:
        """What each preset is for one image, by name."""
        return _plans(self, info, limits, features)

    def has(self, plan: Plan, info: ImageInfo, limits: Limits, features: Features) -> bool:
        """Whether a plan is a preset of this image, however its address was written."""
        return bool(self.all) and plan in _plans(self, info, limits, features).values()

    def joined(self, others: "Presets") -> "Presets":
        """With others, which win where a name is in both."""
        found = {preset.name: preset for preset in (*self.all, *others.all)}
        return Presets(tuple(found.values()))

    def faults(self, features: Features) -> list[PresetError]:
        """What this installation cannot do."""
        found = []
        for preset in self.all:
            if preset.format not in features.formats:
                formats = ", ".join(features.formats)
                why = f"{preset.format} is not among the formats {formats}"
                found.append(PresetError(f"{preset.name}.format", why))
            if preset.turned.degrees % 90 and not features.rotation_arbitrary:
                why = "must be a multiple of 90 here"
                found.append(PresetError(f"{preset.name}.rotation", why))
        return found


def parse(name: str, text: str, label: str | None = None) -> Preset:
    """`region/size/rotation/quality.format`. Raises PresetError."""
    parts = text.split("/")
    quality, dot, format = parts[-1].partition(".")
    if len(parts) != 4 or not dot:
        raise PresetError(name, "must be region/size/rotation/quality.format")
    return made(
        name,
        {
            "region": parts[0],
            "size": parts[1],
            "rotation": parts[2],
            "quality": quality,
            "format": format,
        }
        | ({} if label is None else {"label": label}),
    )


def from_words(words: Mapping[str, str]) -> Presets:
    """`{name: "region/size/rotation/quality.format"}`. Raises PresetError."""
    return Presets(tuple(parse(name, text) for name, text in words.items()))


def from_table(table: Mapping[str, Any]) -> Presets:
    """The `[presets]` table of a policy file: a text, or a table of KEYS, for each name.

    All but the size may be left out. Raises PresetError whose key is `presets.name.key`.
    """
    found = []
    for name, value in table.items():
        try:
            if isinstance(value, str):
                found.append(parse(name, value))
            elif isinstance(value, Mapping):
                found.append(made(name, value))
            else:
                raise PresetError(name, "must be a text or a table")
        except PresetError as error:
            raise PresetError(f"presets.{error.key}", error.why) from None
    return Presets(tuple(found))


def made(name: str, values: Mapping[str, Any]) -> Preset:
    """A preset from its parts by name (KEYS). Raises PresetError."""
    if not NAME.fullmatch(name):
        raise PresetError(name, NAME_SENTENCE)
    for key, value in values.items():
        if key not in KEYS:
            raise PresetError(f"{name}.{key}", f"no such key; there are {', '.join(KEYS)}")
        whole = isinstance(value, int) and not isinstance(value, bool) and key == "rotation"
        if not (isinstance(value, str) or whole):
            raise PresetError(f"{name}.{key}", "must be a text")
    texts = {"region": "full", "rotation": "0", "quality": "default", "format": "jpg"}
    texts |= {key: str(value).strip() for key, value in values.items()}
    if "size" not in texts:
        raise PresetError(f"{name}.size", "is missing")

    def part(key: str, read: Any) -> Any:
        try:
            return read(texts[key])
        except InvalidRequest as error:
            public = error.public
            raise PresetError(f"{name}.{key}", public[0].lower() + public[1:-1]) from None

    region, around, shape = part("region", _region)
    size, box = part("size", _size)
    if texts["region"].startswith("focus:"):
        if box is None and size.kind != "wh":
            raise PresetError(f"{name}.size", FOCUS_SENTENCE)
        box = (size.width, size.height)
    if not _FORMAT.fullmatch(texts["format"]):
        raise PresetError(f"{name}.format", "must be a format such as jpg")
    rotation = part("rotation", Rotation.parse)
    return Preset(
        name,
        texts.get("label") or name,
        texts["region"],
        texts["size"],
        rotation_text(rotation.mirror, rotation.degrees),
        part("quality", parse_quality),
        texts["format"],
        region,
        around,
        box or shape,
        size,
        rotation,
    )


def _region(text: str) -> tuple[Region, tuple[Ratio, Ratio], tuple[int, int] | None]:
    """Where to look, around what, and the shape to take of it."""
    if found := _FOCUS.fullmatch(text):
        focus = (ratio(found[1]), ratio(found[2]))
        # Nobody means a hundredth: 0.5 is the middle, as 50 is.
        parts = "." in text and all(value <= whole for value, whole in focus)
        around = [(value, whole * (1 if parts else 100)) for value, whole in focus]
        if any(value > whole for value, whole in around):
            raise InvalidRequest("The focus is outside the image.")
        return FULL, (around[0], around[1]), None
    if (found := _SHAPE.fullmatch(text)) and not found[1]:
        return FULL, MIDDLE, (int(found[2]), int(found[3]))
    try:
        region = Region.parse(text)
    except InvalidRequest:
        raise InvalidRequest(f"{REGION_SENTENCE}.") from None
    if region.values and not all(value for value, _ in region.values[2:]):
        raise InvalidRequest("The region is empty.")
    return region, MIDDLE, None


def _size(text: str) -> tuple[Size, tuple[int, int] | None]:
    """The size, and the shape to crop to where it says so."""
    caret = text.startswith("^")
    plain = text[caret:]
    found = _SHAPE.fullmatch(text)
    if found:
        plain = f"{found[2]},{found[3]}"
    if plain == "full":
        plain = "max"
    size = Size.parse(plain, f"{SIZE_SENTENCE}.", enlarging=ALL if caret else NONE)
    empty = {"w": size.width, "h": size.height, "pct": size.percent[0]}.get(size.kind, 1)
    if not empty or (size.kind in {"wh", "fit"} and not (size.width and size.height)):
        raise InvalidRequest("The size would be less than one pixel.")
    return size, (size.width, size.height) if found else None


def _inside(region: Region, info: ImageInfo) -> Box:
    """The region, moved into the image where it is outside."""
    try:
        return region.resolve(info)
    except InvalidRequest:
        whole = (info.width, info.height) * 2
        x, y, width, height = (
            value if region.kind == "pixels" else half_up(side * value, 100 * unit)
            for side, (value, unit) in zip(whole, region.values, strict=True)
        )
        width, height = min(max(width, 1), info.width), min(max(height, 1), info.height)
        return Box(min(x, info.width - width), min(y, info.height - height), width, height)


def _can(features: Features, format: str, degrees: Decimal) -> Limits:
    """The limits of what can be written, which no info.json declares."""
    longest = LONGEST_SIDE.get(format)
    if longest is not None and degrees % 90:
        longest -= 2  # As in plan.resolve.
    return Limits(longest, longest, features.max_pixels)


def _least(limits: Limits, width: int | None, height: int | None, area: int | None) -> Limits:
    def less(one: int | None, other: int | None) -> int | None:
        return min(one or ENDLESS, other or ENDLESS) if one or other else None

    max_width, max_height, max_area = bounds(limits)
    return Limits(less(max_width, width), less(max_height, height), less(max_area, area))


def _turnable(width: int, height: int, degrees: Decimal, can: Limits) -> tuple[int, int]:
    """Smaller until the box around what is turned by an odd angle may be."""
    while not within(*turned(width, height, degrees), can) and max(width, height) > 1:
        width, height = max(1, width * 31 // 32), max(1, height * 31 // 32)
    return width, height


@lru_cache(maxsize=1024)
def _plans(
    presets: Presets, info: ImageInfo, limits: Limits, features: Features
) -> Mapping[str, Plan]:
    return {preset.name: preset.plan(info, limits, features) for preset in presets.all}


def described(preset: Preset) -> dict[str, str]:
    """A preset as a document tells of it."""
    return {"name": preset.name, **{key: getattr(preset, key) for key in KEYS}}
