"""One site for all tests that leave it as it was, and the way to make others."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from tests.published.site import Site, site_of

MakeSite = Callable[..., AbstractContextManager[Site]]


@pytest.fixture(scope="session")
def make_site(need: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> MakeSite:
    def make(**keywords: object) -> AbstractContextManager[Site]:
        return site_of(need("nginx"), tmp_path_factory.mktemp("site"), **keywords)  # type: ignore[arg-type]  # as site_of says

    return make


@pytest.fixture(scope="session")
def shared_site(make_site: MakeSite) -> Iterator[Site]:
    with make_site() as site:
        yield site


@pytest.fixture
def site(shared_site: Site) -> Site:
    """Each test uses identifiers of its own."""
    shared_site.headers = []
    return shared_site
