"""An installation with a policy, asked in this process as a server would ask it."""

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from PIL import Image

from iiif_proxy.proxy import IIIFProxy
from tests.http.collection import quarters, saved

WIDTH, HEIGHT = 600, 400
STRANGER, MEMBER, PRIVILEGED = "", "member", "privileged"


@dataclass
class Heard:
    """What came back."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def get(self, name: str) -> str:
        return ", ".join(self.all(name))

    @property
    def image(self) -> Image.Image:
        assert self.status == 200, self.body[:300]
        return Image.open(io.BytesIO(self.body))


@dataclass
class House:
    """The proxy around nothing, its pictures in a folder, its policy in a file."""

    folder: Path
    proxy: IIIFProxy
    said: dict[str, str] = field(default_factory=dict)

    @property
    def policy(self) -> Path:
        return self.folder / "policy.toml"

    def ask(self, target: str, one: str = STRANGER, method: str = "GET", **fields: str) -> Heard:
        """As a caller of a class, which a trusted front names. `fields` are of the environ."""
        path, _, query = target.partition("?")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "RAW_URI": target,
            "QUERY_STRING": query,
            "SERVER_NAME": "here.example",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": "here.example",
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(),
            "wsgi.errors": io.StringIO(),
        }
        if one:
            environ["HTTP_X_CLASS"] = one
        answered: list[Any] = []

        def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
            answered[:] = [int(status.split()[0]), headers]

        body = self.proxy(environ | fields, start_response)
        try:
            found = b"".join(body)
        finally:
            close = getattr(body, "close", None)
            if close:
                close()
        return Heard(answered[0], answered[1], found)

    def stored(self) -> set[str]:
        """The names of the derivatives that are stored."""
        found = (self.folder / "cache" / "derivatives").glob("*/*/*")
        return {path.name for path in found if not path.name.startswith(".")}

    def published(self) -> set[str]:
        """Identifiers, encoded, that a static server would answer for."""
        return {path.name for path in (self.folder / "cache" / "published").glob("[0-9]*/*")}


Housing = Callable[..., House]


@pytest.fixture
def house(tmp_path: Path) -> Housing:
    """`house(policy text, setting=…)`."""

    def build(policy: str | None = None, **settings: str) -> House:
        images = tmp_path / "images"
        for name in ("a.png", "restricted/b.png", "open/c.png"):
            path = images / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.write_bytes(saved(quarters(WIDTH, HEIGHT)))
        values = {
            "source": f"file:{images}/{{id}}",
            "cache_dir": str(tmp_path / "cache"),
            "write_ahead": "off",
            "predict": "off",
            "tile_size": "128",
            "class_header": "X-Class",
        } | settings
        if policy is not None:
            (tmp_path / "policy.toml").write_text(policy)
            values["policy"] = str(tmp_path / "policy.toml")
        environ = {f"IIIF_PROXY_{name.upper()}": text for name, text in values.items()}
        return House(tmp_path, IIIFProxy(environ=environ))

    return build
