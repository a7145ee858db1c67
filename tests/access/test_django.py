"""The Django of docs/access.md, with real users, sessions and permissions, under gunicorn."""

import re
import textwrap
from collections.abc import Iterator

import pytest

from tests.frameworks.conftest import request
from tests.http.collection import quarters, saved
from tests.servers import ROOT, Answer, gunicorn

SITE = """
import django
from django.conf import settings

settings.configure(
    SECRET_KEY="x", ALLOWED_HOSTS=["*"], ROOT_URLCONF="urls", USE_TZ=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": FOLDER + "/db"}},
    INSTALLED_APPS=[
        "django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
)
django.setup()

from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connections

call_command("migrate", verbosity=0)
if not User.objects.exists():
    permission = Permission.objects.create(
        codename="can_use_iiif_image_api",
        content_type=ContentType.objects.get_for_model(User),
    )
    User.objects.create_user("alice", password="a").user_permissions.add(permission)
    User.objects.create_user("bob", password="b")
connections.close_all()

from django.core.wsgi import get_wsgi_application
from iiif_proxy.proxy import IIIFProxy
application = IIIFProxy(
    get_wsgi_application(),
    source="app:/media/{id}",
    cache_dir=FOLDER + "/cache",
    policy=FOLDER + "/policy.toml",
    classify="images:classify",
)
"""
URLS = """
from django.contrib.auth import authenticate, login
from django.http import HttpResponse
from django.urls import path
from django.views.static import serve

def enter(request, name, password):
    login(request, authenticate(request, username=name, password=password))
    return HttpResponse("welcome")

urlpatterns = [
    path("login/<name>/<password>", enter),
    path("media/<path:path>", serve, {"document_root": FOLDER}),
]
"""
POLICY = """
[classes.public]
create = "declared"
[classes.member]
max_width = 90
[[rules]]
identifiers = "closed*"
public = { read = "nothing" }
"""


def snippet() -> str:
    text = (ROOT / "docs" / "access.md").read_text("utf-8")
    found = re.search(r"mysite\.images:classify`:\n\n((?:    [^\n]*\n|\n)+)", text)
    assert found is not None
    return textwrap.dedent(found[1])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("django")
    for name in ("a.png", "closed.png"):
        (folder / name).write_bytes(saved(quarters(300, 200)))
    (folder / "site_.py").write_text(SITE.replace("FOLDER", repr(str(folder))))
    (folder / "urls.py").write_text(URLS.replace("FOLDER", repr(str(folder))))
    (folder / "images.py").write_text(snippet())
    (folder / "policy.toml").write_text(POLICY)
    options = ["--chdir", str(folder)]
    with gunicorn("site_", {"PYTHONPATH": str(ROOT)}, options=options) as served:
        yield served.port


def cookie(site: int, name: str, password: str) -> str:
    answer = request(site, f"/login/{name}/{password}")
    assert answer.body == b"welcome"
    return "Cookie: " + answer.all("Set-Cookie")[0].partition(";")[0]


def ask(site: int, size: str, *lines: str, name: str = "a.png") -> Answer:
    return request(site, f"/iiif/3/{name}/full/{size}/0/default.jpg", *lines)


def test_permissions_are_classes(site: int) -> None:
    alice, bob = cookie(site, "alice", "a"), cookie(site, "bob", "b")
    assert ask(site, "200,").status == 403
    assert ask(site, "200,", bob).status == 403
    assert ask(site, "80,", bob).status == 200
    assert ask(site, "200,", alice).status == 200
    # Made by alice, there for everybody; but not for bob, who has less.
    assert [ask(site, "200,").status, ask(site, "200,", bob).status] == [200, 403]
    assert ask(site, "200,", "Cookie: sessionid=nonsense").status == 200
    assert ask(site, "201,", "Cookie: sessionid=nonsense").status == 403
    for line, status in (("X-Nobody: 1", 403), (bob, 200), (alice, 200)):
        answer = ask(site, "80,", line, name="closed.png")
        assert answer.status == status
        if status == 200:
            assert (answer.get("Cache-Control") or "").startswith("private")
            assert "Cookie" in (answer.get("Vary") or "")
