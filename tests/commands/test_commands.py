"""What the commands do, say, and exit with."""

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from iiif_proxy.cli import COMMANDS
from iiif_proxy.commands import working
from iiif_proxy.commands.working import TRIES
from iiif_proxy.proxy import IIIFProxy
from tests.commands.conftest import Command
from tests.http import collection
from tests.servers import Exchange, Origin


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_examples_and_exit_codes(command: Command, name: str) -> None:
    code, out, _ = command(name, "--help")
    assert code == 0
    assert "examples:" in out
    assert f"iiif-proxy {name}" in out
    assert "exit codes: 0" in out


@pytest.mark.parametrize("name", ["purge", "warm", "export"])
def test_no_identifier_is_a_mistake(command: Command, name: str, tmp_path: Path) -> None:
    more = ["--to", str(tmp_path / "x"), "--base", "http://x.example"] if name == "export" else []
    code, _, errors = command(name, *more)
    assert code == 2
    assert errors.startswith("No identifier was named")


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "completion"])
def test_mistakes_in_settings_are_said_at_once(
    command: Command, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("IIIF_PROXY_CACHE_SISE", "1")
    more = {
        "info": ["x"],
        "explain": ["/iiif/3/x"],
        "purge": ["x"],
        "warm": ["x"],
        "export": ["x", "--to", str(tmp_path), "--base", "http://x.example"],
        "sign": ["http://x.example/iiif/3/x/info.json"],
    }
    code, _, errors = command(name, *more.get(name, []))
    assert code == 2
    assert errors.startswith("IIIF_PROXY_CACHE_SISE: no such setting")


def test_info(command: Command) -> None:
    code, out, _ = command("info", "300x200.png")
    assert code == 0
    assert '"width": 300' in out
    assert "fingerprint" in out
    code, out, _ = command("info", "--json", "--version", "2", "300x200.png")
    assert json.loads(out)["@id"] == "/iiif/2/300x200.png"


def test_info_of_nothing(command: Command) -> None:
    code, out, errors = command("info", "nothing")
    assert (code, out) == (1, "")
    assert errors.startswith("404 ")


def test_warm_makes_what_is_missing_and_skips_the_rest(command: Command, origin: Origin) -> None:
    first = command("warm", "--jobs", "2", "large.png")
    assert first[0] == 0
    made = int(first[1].split()[0])
    assert made > 10
    asked = len(origin.requests)
    code, out, _ = command("warm", "large.png")
    assert code == 0
    assert out.startswith(f"0 made (0 bytes), {made} there already, 0 failed")
    assert len(origin.requests) == asked


def test_warm_one_size_of_a_file_of_names(command: Command, tmp_path: Path) -> None:
    names = tmp_path / "names"
    names.write_text("# ours\n300x200.png\n\n301x200.png\n")
    code, out, _ = command("warm", "--from", str(names), "--only", "!60,60", "--format", "webp")
    assert code == 0
    assert out.startswith("2 made")


def test_warm_presets(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IIIF_PROXY_PRESETS", "a=full/70x70/0/default.jpg b=full/!71,71/0/gray.png")
    code, out, _ = command("warm", "--presets", "305x200.png", "306x200.png")
    assert code == 0
    assert out.startswith("4 made")
    code, out, _ = command("warm", "--presets", "--only", "!60,60", "305x200.png")
    assert out.startswith("1 made")
    assert "2 there already" in out
    assert command("warm", "--presets", "--version", "2", "306x200.png")[1].startswith("0 made")
    monkeypatch.delenv("IIIF_PROXY_PRESETS")
    code, _, errors = command("warm", "--presets", "305x200.png")
    assert code == 2
    assert errors.startswith("There are no presets")


def test_warm_says_what_failed_and_goes_on(command: Command) -> None:
    code, out, errors = command("warm", "--only", "!60,60", "nothing", "broken.png", "302x200.png")
    assert code == 1
    assert out.startswith("1 made")
    assert "nothing/full" in errors
    assert "broken.png/full" in errors


def test_warm_tries_again_what_fails_in_passing(
    command: Command, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(working, "SECOND", 0.01)
    failures: dict[str, int] = {}

    def failing(exchange: Exchange) -> None:
        name = exchange.request.target.rpartition("/")[2]
        failures[name] = failures.get(name, 0) + 1
        if name == "321x200.png" or (name == "320x200.png" and failures[name] < 3):
            exchange.write(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
        else:
            collection.serve(exchange)

    monkeypatch.setattr(origin, "default", failing)
    names = ["320x200.png", "321x200.png", "nothing", "322x200.png"]
    code, out, errors = command("warm", "--only", "!60,60", *names)
    assert code == 1
    assert out.startswith("2 made")
    assert failures == {"320x200.png": 3, "321x200.png": 1 + TRIES, "nothing": 1, "322x200.png": 1}
    told = errors.rpartition("Not made:\n")[2]
    assert sorted(line.split(":")[0].strip() for line in told.splitlines()) == [
        "321x200.png",
        "nothing",
    ]


def test_a_fault_of_ours_ends_no_thread_that_warms(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = working.made

    def broken(proxy: IIIFProxy, path: str) -> working.Made:
        if "323x200" in path:
            raise ZeroDivisionError
        return make(proxy, path)

    monkeypatch.setattr(working, "made", broken)
    names = [f"{width}x200.png" for width in (323, *range(330, 340))]
    code, out, errors = command("warm", "--jobs", "1", "--only", "!60,60", *names)
    assert (code, out.split()[0]) == (1, "10")
    assert "  323x200.png: Something went wrong here: the log has it. (1)" in errors


MANIFEST_3 = {
    "@context": "http://iiif.io/api/presentation/3/context.json",
    "id": "https://x.example/m",
    "type": "Manifest",
    "items": [
        {
            "type": "Canvas",
            "items": [
                {
                    "body": {
                        "type": "Image",
                        "service": [
                            {
                                "id": "https://img.example/pre/iiif/3/a%2Fb.png",
                                "type": "ImageService3",
                            },
                            {"id": "https://other.example/x", "type": "ImageService2"},
                        ],
                    }
                }
            ],
        }
    ],
}
MANIFEST_2 = {
    "@type": "sc:Manifest",
    "@id": "https://x.example/m2",
    "sequences": [
        {
            "canvases": [
                {
                    "images": [
                        {
                            "resource": {
                                "service": {
                                    "@context": "http://iiif.io/api/image/2/context.json",
                                    "@id": "https://img.example/iiif/2/300x201.png",
                                }
                            }
                        }
                    ]
                }
            ]
        }
    ],
}


def test_warm_what_a_manifest_shows(command: Command, tmp_path: Path) -> None:
    three, two = tmp_path / "3.json", tmp_path / "2.json"
    three.write_text(json.dumps(MANIFEST_3))
    two.write_text(json.dumps(MANIFEST_2))
    arguments = ["--manifest", str(three), "--manifest", str(two), "--only", "10,"]
    code, out, errors = command("warm", *arguments)
    assert (code, out.split(",")[0].split(" (")[0]) == (0, "2 made")
    assert "not one of ours: https://other.example/x" in errors
    tmp_path.joinpath("none.json").write_text("[")
    assert command("warm", "--manifest", str(tmp_path / "none.json"))[0] == 2


def test_purge(command: Command, origin: Origin) -> None:
    command("warm", "--only", "50,", "303x200.png")
    asked = len(origin.requests)
    code, out, _ = command("purge", "303x200.png")
    assert (code, out) == (0, "purged 303x200.png\n")
    code, out, _ = command("warm", "--only", "50,", "303x200.png")
    assert out.startswith("1 made")
    assert len(origin.requests) > asked


def test_purge_all(command: Command, tmp_path: Path) -> None:
    names = ["340x200.png", "341x200.png"]
    command("warm", "--only", "!60,60", *names)
    code, out, _ = command("purge", "--all")
    assert (code, out) == (0, "purged everything\n")
    left = [path for path in (tmp_path / "cache").rglob("*") if path.suffix in {".jpg", ".png"}]
    assert left == []
    assert command("warm", "--only", "!60,60", *names)[1].startswith("2 made")
    assert command("purge", "--all", names[0])[0] == 2


def test_stats(command: Command) -> None:
    command("warm", "--only", "50,", "--only", "60,", "304x200.png")
    code, out, _ = command("stats")
    assert code == 0
    assert "304x200.png" in out
    found = json.loads(command("stats", "--json")[1])
    assert found["images"][0]["identifier"] == "304x200.png"
    assert found["images"][0]["entries"] == 2
    assert found["stores"]["derivatives"]["entries"] == 2


@pytest.mark.parametrize("version", [2, 3])
def test_export_is_a_pyramid_of_files(command: Command, tmp_path: Path, version: int) -> None:
    site = tmp_path / "site"
    arguments = ["export", "--to", str(site), "--base", "https://x.example/i", "large.png"]
    code, out, errors = command(*arguments, "--version", str(version), "--jobs", "2")
    assert code == 0, errors
    info = json.loads((site / "large.png" / "info.json").read_text())
    assert (info.get("id") or info.get("@id")) == "https://x.example/i/large.png"
    assert "level0" in str(info["profile"])
    assert "extraFeatures" not in info
    tile = info["tiles"][0]
    for factor in tile["scaleFactors"]:
        step = tile["width"] * factor
        for y in range(0, info["height"], step):
            for x in range(0, info["width"], step):
                w, h = min(step, info["width"] - x), min(step, info["height"] - y)
                size = [-(-w // factor), -(-h // factor)]
                name = f"{size[0]},{size[1]}" if version == 3 else f"{size[0]},"
                path = site / f"large.png/{x},{y},{w},{h}/{name}/0/default.jpg"
                assert list(Image.open(io.BytesIO(path.read_bytes())).size) == size
    again = command(*arguments, "--version", str(version))
    assert again[1].startswith("0 made")
    assert out.split()[0] == again[1].split(", ")[1].split()[0]


@pytest.mark.parametrize("name", ["../x", ".git/config", "/", "a/../../x"])
def test_export_stays_in_its_folder(command: Command, tmp_path: Path, name: str) -> None:
    site = tmp_path / "deep" / "site"
    arguments = ["--to", str(site), "--base", "https://x.example", name]
    assert command("export", *arguments)[0] == 1
    assert not list(tmp_path.glob("deep/*.jpg"))
    assert not (tmp_path / "deep" / "x").exists()


def test_check_shows_settings_and_tries(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IIIF_PROXY_MAX_AGE", "2h")
    monkeypatch.setenv("IIIF_PROXY_SOURCE", "app:/{id} http://127.0.0.1:1/?key=s3cret&id={id}")
    code, out, _ = command("check", "--id", "300x200.png")
    assert "* IIIF_PROXY_MAX_AGE = 2h" in out
    assert "  IIIF_PROXY_JPEG_QUALITY = 80" in out
    assert "s3cret" not in out
    assert "ok    300x200.png: 300 × 200" in out
    assert code == 1  # nobody is there
    monkeypatch.delenv("IIIF_PROXY_SOURCE")
    assert command("check", "--quiet")[0] == 0
    assert command("check", "--id", "nothing")[0] == 1
