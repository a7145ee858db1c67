"""The regular expressions of the nginx file against the arithmetic of iiif_proxy.iiif.

What nginx would make of any URL is either no file that anybody writes, or the file of just that
URL's plan, and then the canonical link is what Python says.
"""

import itertools
import re
from urllib.parse import quote

import pytest
from hypothesis import Phase, assume, example, given, settings
from hypothesis import strategies as st

from iiif_proxy.errors import ProxyError
from iiif_proxy.iiif import urls
from iiif_proxy.iiif.model import Features, ImageInfo, Limits
from iiif_proxy.iiif.plan import ImageRequest, resolve, stored_name
from iiif_proxy.iiif.tiles import tile_boxes, tiling
from tests.published.site import SHIPPED

MAP = re.compile(r"map \"?([^\n{]*?)\"? (\$\w+) \{\n(.*?)\n\}", re.S)
# A rule's key: default, a text in quotes, or an expression in quotes behind a tilde.
KEY = r"""default|"~(?P<pattern>(?:[^"\\]|\\.)*)"|"(?P<text>[^"]*)\""""
RULE = re.compile(rf"(?:{KEY})\s+(?P<quote>[\"'])(?P<value>.*?)(?P=quote);", re.S)


class Nginx:
    """As much of nginx as the maps need: they are read from the file that is shipped."""

    def __init__(self) -> None:
        text = re.sub(r"^\s*#.*\n", "", SHIPPED.read_text(), flags=re.M)
        rewrite = re.search(r"rewrite \^ /iiif/-/published/\$iiif_time/(\S+) last;", text)
        link = re.search(r"add_header Link '(.+)';", text)
        assert rewrite is not None
        assert link is not None
        self.file, self.link = rewrite[1], link[1]
        self.maps = {}
        for source, name, body in MAP.findall(text):
            rules = []
            for rule in RULE.finditer(body):
                pattern = rule["pattern"] or re.escape(rule["text"] or "")
                pattern = pattern.replace('\\"', '"')
                pattern = pattern.replace("(?<iiif", "(?P<iiif")
                pattern = re.sub(r"\\k<(\w+)>", r"(?P=\1)", pattern)
                rules.append((re.compile(pattern) if pattern else None, rule["value"]))
            # nginx tries expressions in their order and the default last.
            self.maps[name] = source, sorted(rules, key=lambda rule: rule[0] is None)

    def filled(self, text: str, values: dict[str, str]) -> str:
        return re.sub(r"\$\{?(\w+)\}?", lambda found: values.get(found[1], ""), text)

    def look(self, name: str, values: dict[str, str]) -> str:
        source, rules = self.maps[name]
        key = self.filled(source, values)
        for pattern, value in rules:
            found = pattern.search(key) if pattern else None
            if found:
                values |= {k: v or "" for k, v in found.groupdict().items()}
            if found or pattern is None:
                return self.filled(value, values)
        return ""

    def ask(
        self, target: str, method: str = "GET", tag: str = "", host: str = "h.example"
    ) -> tuple[str, str]:
        """The file below the folder of the time, "" for none; and the Link field."""
        values = {"request_method": method, "http_if_none_match": tag, "request_uri": target}
        values |= {"http_host": host, "scheme": "http", "server_name": "_"}
        values["iiif_named"] = self.look("$iiif_named", values)
        for name in ("iiif_site", "iiif_canonical"):
            values[name] = self.look("$" + name, values)
        file = self.filled(self.file, values) if values["iiif_named"] else ""
        return file, self.filled(self.link, values)


NGINX = Nginx()
TILE = "/iiif/3/x/0,0,512,512/256,256/0/default.jpg"


def test_all_maps_were_read() -> None:
    assert {name: len(rules) for name, (_, rules) in NGINX.maps.items()} == {
        "$iiif_time": 1, "$iiif_named": 5, "$iiif_canonical": 2, "$iiif_site": 2,
    }  # fmt: skip
    assert NGINX.ask(TILE)[0] == "x/0,0,512,512_256,256_0_default.jpg"


sides = st.integers(1, 3000) | st.integers(1, 9)
images = st.builds(ImageInfo, sides, sides, st.just("JPEG"), gray=st.booleans())
limits_ = st.just(Limits()) | st.builds(
    Limits, st.none() | st.integers(1, 3000), st.none(), st.none() | st.integers(1, 10**7)
).filter(lambda limits: limits.max_width or not limits.max_height)
features_ = st.builds(Features, tile_size=st.sampled_from([64, 256, 512]), upscaling=st.booleans())


def tails(info: ImageInfo, limits: Limits, features: Features, draw: st.DrawFn) -> list[str]:
    """Addresses of an image: tiles as viewers ask for them, and others close to them."""
    tiles = tiling(info, limits, features)
    factor = draw(st.sampled_from(tiles.scale_factors))
    boxes = list(itertools.islice(tile_boxes(info, tiles, factor), 40))
    box, width, height = draw(st.sampled_from(boxes + boxes[-1:] * 3))
    x, y, w, h = box.x, box.y, box.width, box.height
    near = st.integers(-1, 1)
    w, h = max(w + draw(near), 1), max(h + draw(near), 1)
    regions = ["full", "square", f"{box.x},{box.y},{box.width},{box.height}", f"{x},{y},{w},{h}"]
    regions += [f"0,0,{info.width},{info.height}", f"0{x},{y},{w},{h}", "pct:0,0,50,50"]
    sizes = ["full", "max", "^max", f"{width},", f"{width},{height}", f",{height}", f"{w},{h}"]
    sizes += [f"{w},", f"{box.width},{box.height}", f"{box.width},", f"^{width},{height}"]
    sizes += [f"!{width},{height}", f"0{width},{height}", f"{info.width},", "pct:50"]
    if limits.max_width:
        sizes += [f"{limits.max_width},", f"{limits.max_width},{height}"]
    turns = ["0", "90", "!0", "22.5", "90.0", "360", ".5", "5."]
    lasts = ["default.jpg", "color.jpg", "gray.png", "bitonal.webp", "default.tif"]
    return [
        f"{region}/{size}/{turn}/{last}"
        for region in regions
        for size in sizes
        for turn, last in [
            ("0", "default.jpg"),
            draw(st.tuples(*map(st.sampled_from, (turns, lasts)))),
        ]
    ]


# Without shrinking: the message names the address, and an example is 500 addresses.
few = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
)


@few
@given(st.data())
def test_nginx_means_what_python_means(data: st.DataObject) -> None:
    info, limits, features = data.draw(st.tuples(images, limits_, features_))
    assume(not features.upscaling or limits.max_width or limits.max_area)
    asked = tails(info, limits, features, data.draw)
    check(info, limits, features, asked)


def check(info: ImageInfo, limits: Limits, features: Features, asked: list[str]) -> None:
    plans, files = {}, {}
    for version, tail in itertools.product((2, 3), asked):
        target = f"/iiif/{version}/x/{tail}"
        try:
            request = urls.parse(target, "/iiif", 3)
            assert isinstance(request, ImageRequest)
            plan = resolve(request, info, limits, features)
        except ProxyError:
            plans[target] = None
            continue
        plans[target] = plan, request.api.canonical(plan, info, limits, features)
        # What Python writes once it has answered this.
        files.setdefault("x/" + stored_name(plan, info, limits), plan)
        also = request.api.also_named(plan, info, limits, features)
        if also is not None:
            files.setdefault("x/" + also, plan)
    for target, meant in plans.items():
        file, link = NGINX.ask(target)
        if file not in files:
            continue
        assert meant is not None, f"{target} is refused by Python, served from {file} by nginx"
        plan, canonical = meant
        assert files[file] == plan, f"{target}: {file}"
        version = target.split("/")[2]
        assert link == (
            f'<http://h.example/iiif/{version}/x/{canonical}>;rel="canonical", '
            f'<http://iiif.io/api/image/{version}/level2.json>;rel="profile"'
        ), target


def test_a_sliver_is_not_taken_for_a_region_at_its_own_size() -> None:
    """`1,` of the last tile at scale factor 2: 1 x 256 by info.json, of a region of 1 x 512."""
    region = "512,0,1,512"
    asked = [f"{region}/{size}/0/default.jpg" for size in ("max", "1,", "1,512", "1,256", "full")]
    check(ImageInfo(513, 2000, "JPEG"), Limits(), Features(tile_size=256), asked)


@pytest.mark.parametrize("version", [2, 3])
@few
@given(info=images)
@example(ImageInfo(513, 2000, "JPEG"))
@example(ImageInfo(1025, 700, "JPEG"))
def test_the_tiles_of_viewers_are_found(version: int, info: ImageInfo) -> None:
    """All but the whole image at its own size, which viewers ask as `max` or `full`."""
    limits, features = Limits(), Features()
    tiles = tiling(info, limits, features)
    for factor in tiles.scale_factors:
        for box, width, height in itertools.islice(tile_boxes(info, tiles, factor), 50):
            whole = (box.width, box.height) == (info.width, info.height)
            region = "full" if whole else f"{box.x},{box.y},{box.width},{box.height}"
            size = f"{width}," if version == 2 else f"{width},{height}"
            if whole and factor == 1:
                size = "full" if version == 2 else "max"
            target = f"/iiif/{version}/x/{region}/{size}/0/default.jpg"
            request = urls.parse(target, "/iiif", 3)
            assert isinstance(request, ImageRequest)
            plan = resolve(request, info, limits, features)
            names = {stored_name(plan, info, limits)}
            names.add(request.api.also_named(plan, info, limits, features) or "")
            found = NGINX.ask(target)[0].removeprefix("x/")
            # A sliver of a width of 1 may be two things in 2.1: Python's.
            assert found in names or (version == 2 and 1 in (width, box.width)), target


@pytest.mark.parametrize(
    "identifier", ["a b", "a/b.jpg", "ü.png", "100%", "a%2Fb", "x_y_z", "~$&'()*+,;=:!@", "e\u0301"]
)
def test_identifiers_stay_as_they_are_written(identifier: str) -> None:
    encoded = urls.encode(identifier)
    file, link = NGINX.ask(TILE.replace("/x/", f"/{encoded}/"))
    assert file == f"{encoded}/0,0,512,512_256,256_0_default.jpg"
    assert link.startswith(
        f"<http://h.example/iiif/3/{encoded}/0,0,512,512/256,256/0/default.jpg>;"
    )


@pytest.mark.parametrize(
    "target",
    [
        "/iiif/3/./0,0,5,5/2,2/0/default.jpg",
        "/iiif/3/../0,0,5,5/2,2/0/default.jpg",
        "/iiif/3/.hidden/0,0,5,5/2,2/0/default.jpg",
        "/iiif/3/..%2Fx/0,0,5,5/2,2/0/default.jpg",
        "/iiif/3/a/b/0,0,5,5/2,2/0/default.jpg",
        "/iiif/3//0,0,5,5/2,2/0/default.jpg",
        "/iiif/3/x/0,0,5,5/2,2/0/default.jpg?",
        "/iiif/3/x/0,0,5,5/2,2/0/default.jpg?a=b",
        "/iiif/3/x?/0,0,5,5/2,2/0/default.jpg",
        "/iiif/3/x/0,0,5,5/2,2/0/default.tif",
        "/iiif/3/x/0,0,5,5/2,2/0/../default.jpg",
        "/iiif/3/x/0,0,5,5/^2,2/0/default.jpg",
        "/iiif/3/x/0,0,5,5/^max/0/default.jpg",
        "/iiif/3/x/0,0,5,5/full/0/default.jpg",
        "/iiif/3/x/0%2C0,5,5/2,2/0/default.jpg",
        "/iiif/4/x/0,0,5,5/2,2/0/default.jpg",
        "/iiif/x/0,0,5,5/2,2/0/default.jpg",
        "/iiif/3/x/info.json",
        "/iiif/-/published/170000000/x/full_max_0_default.jpg",
        "/other/3/x/0,0,5,5/2,2/0/default.jpg",
        "",
    ],
)
def test_not_for_nginx(target: str) -> None:
    assert NGINX.ask(target)[0] == ""


@pytest.mark.parametrize("method", ["POST", "PUT", "OPTIONS", "DELETE", "PURGE", "get", "HEADS"])
def test_other_methods_are_not_for_nginx(method: str) -> None:
    assert NGINX.ask(TILE, method=method)[0] == ""
    assert NGINX.ask(TILE, method="HEAD")[0] == NGINX.ask(TILE)[0] != ""


@pytest.mark.parametrize(
    "tag, its_own",
    [
        ('"6b03a445-375"', True),
        ('"0123456789abcdef0123"', False),
        ('W/"6b03a445-375"', False),
        ('"6b03a445-375", "0123456789abcdef0123"', False),
        ("*", False),
        (":/iiif/3/y/full/max/0/default.jpg", False),
    ],
)
def test_only_its_own_etags_are_for_nginx(tag: str, its_own: bool) -> None:
    assert bool(NGINX.ask(TILE, tag=tag)[0]) is its_own


@pytest.mark.parametrize("host", ['x>;rel="evil', "a b", "", "a,b", "x/y"])
def test_a_strange_host_is_not_in_the_links(host: str) -> None:
    assert NGINX.ask(TILE, host=host)[1].startswith(f"<http://_{quote('/iiif/3/x/')}")
