"""The middleware: sorts paths, and answers those that are IIIF's."""

import dataclasses
import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from iiif_proxy import metrics, telling
from iiif_proxy.access.decision import Verdict
from iiif_proxy.access.grant import Grant
from iiif_proxy.errors import (
    InvalidRequest,
    MethodNotAllowed,
    NotAllowed,
    OriginFailed,
    ProxyError,
    SourceChanged,
    for_want,
)
from iiif_proxy.flow.flow import Flow, with_services
from iiif_proxy.flow.rooms import Rooms
from iiif_proxy.guarding import access_of, for_all, lifetimes_of, rules_of, watch_of
from iiif_proxy.iiif import manifest, urls
from iiif_proxy.iiif.describe import profile_of
from iiif_proxy.iiif.model import Extras
from iiif_proxy.iiif.params import largest
from iiif_proxy.iiif.plan import BaseRequest, ImageRequest, InfoRequest, resolve
from iiif_proxy.iiif.presets import Presets
from iiif_proxy.iiif.tiles import sizes
from iiif_proxy.located import Located
from iiif_proxy.offering import Offering
from iiif_proxy.people import annotations_of, own_of
from iiif_proxy.settings import load
from iiif_proxy.sharing import circuits_of, link_of, requests_of
from iiif_proxy.sources.arrival import SourceImage
from iiif_proxy.templating import Addresses, Urls, use
from iiif_proxy.upstream import raw_target
from iiif_proxy.web import answers
from iiif_proxy.web.accel import Accel
from iiif_proxy.web.headers import (
    METHODS,
    Headers,
    cache_control,
    link,
    not_modified,
)
from iiif_proxy.web.peers import Peers
from iiif_proxy.wiring import extras_of, outside, presets_of, service_of

log = logging.getLogger(__name__)
Environ = dict[str, Any]
StartResponse = Callable[..., Any]
App = Callable[[Environ, StartResponse], Iterable[bytes]]
IIIFRequest = ImageRequest | InfoRequest | BaseRequest
KINDS = {ImageRequest: "image", InfoRequest: "info", BaseRequest: "base"}
HOT = 20_000
LONG = 1_000
CHANGES = 3


@dataclasses.dataclass(frozen=True, slots=True)
class Hot:
    """An image answered before: under which base URI, what it was, its headers and log line."""

    path: str
    base: str
    located: Located
    fields: Headers
    line: str | None


class IIIFProxy:
    """A WSGI application around another: IIIF answered here, everything else handed on as it came.

    Keyword arguments are the settings by name and win over `environ` (default: the process's).
    Without an app the origin of the settings stands behind. Raises SettingsError.
    """

    def __init__(
        self,
        app: App | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        **keywords: Any,
    ) -> None:
        settings = load(os.environ if environ is None else environ, keywords)
        self.settings = settings
        self.peers = Peers(settings.trusted_proxies, settings.trusted_hops, settings.base_url)
        link = link_of(settings)
        circuits = circuits_of(link)
        self.app: App = app or outside(settings, self.peers, circuits)
        watch = self._watch = watch_of(settings, self.peers, self.app)
        self._presets = presets_of(settings)
        self.service = service_of(
            settings,
            app,
            circuits,
            link,
            rules_of(watch),
            lambda identifier: for_all(watch, identifier),
            lifetimes_of(watch),
        )
        if watch is not None:
            watch.changed = lambda: self.service.ruled(rules_of(watch))
        self.access = access_of(settings, self.peers, watch, self.service, lambda: self.presets)
        self.offering = Offering(
            lambda: self.presets,
            self.service,
            self.peers,
            settings.prefix,
            settings.default_version,
            access=self.access,
            caching=self._caching,
            image=self._image if settings.preset_answer == "image" else None,
            place=settings.presets_in_info,
        )
        self.flow = Flow(lambda: watch.current() if watch else None, self.access)
        self.own = own_of(
            settings,
            self.peers,
            self.service,
            self.offering,
            self.access,
            Rooms(self.flow, self.service, self.peers, settings.prefix).answer,
        )
        self._addresses = Addresses(
            lambda: self.presets,
            self.service.features,
            settings.prefix,
            settings.default_version,
            self.peers,
            settings.base_url,
        )
        use(self._addresses)
        self._extras = extras_of(settings)
        self._requests = requests_of(settings)
        self._prefix = settings.prefix
        self._send = answers.image
        if settings.accel is not None:
            self._send = Accel(settings.accel, self.peers, telling.sent).image
        # By host, path, and with a policy what answers go by.
        self._hot: dict[tuple[str | None, ...], Hot] = {}

    @property
    def presets(self) -> Presets:
        """Those of the settings and of the policy in force, which win."""
        if self._watch is None:
            return self._presets
        return self._presets.joined(self._watch.current().policy.presets)

    def urls_for(self, identifier: str, environ: Environ | None = None) -> Urls:
        """As `iiif_proxy.urls_for`, where there are several proxies in one process."""
        return self._addresses.of(identifier, environ)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            path = raw_target(environ).partition("?")[0]
        except InvalidRequest:
            return self.app(environ, start_response)
        if not path.startswith(self._prefix):
            return self.app(environ, start_response)
        hot = self._hot.get((environ.get("HTTP_HOST"), path))
        if hot is not None and environ["REQUEST_METHOD"] == "GET":
            answer = self._hit(hot, environ, start_response)
            if answer is not None:
                return answer
        elif self.access.controlled and environ["REQUEST_METHOD"] == "GET":
            answer = self._controlled_hit(path, environ, start_response)
            if answer is not None:
                return answer
        if path.startswith(self._prefix + "/-/"):
            return self._guarded("own", self.own.answer, path, environ, start_response)
        try:
            about = urls.parse_manifest(path, self._prefix)
            if about is not None:
                return self._guarded("manifest", self._manifest, about, environ, start_response)
            request = urls.parse(path, self._prefix, self.settings.default_version)
        except InvalidRequest as error:
            return self._guarded("image", _raise, error, environ, start_response)
        if request is None:
            return self.app(environ, start_response)
        kind = KINDS[type(request)]
        return self._guarded(kind, getattr(self, "_" + kind), request, environ, start_response)

    def _guarded(
        self,
        kind: str,
        answer: Callable[..., Iterable[bytes]],
        what: Any,
        environ: Environ,
        start_response: StartResponse,
    ) -> Iterable[bytes]:
        """One request of ours, told of: counted, timed, logged."""
        telling.identify(environ, self.peers.trusts(environ.get("REMOTE_ADDR", "")))
        path, name = raw_target(environ).partition("?")[0], getattr(what, "identifier", None)
        with telling.Told(kind, path, name, environ) as told:
            return self._answered(answer, what, path, environ, told.watching(start_response))

    def _answered(
        self,
        answer: Callable[..., Iterable[bytes]],
        what: Any,
        path: str,
        environ: Environ,
        start_response: StartResponse,
    ) -> Iterable[bytes]:
        """Methods, and the one error boundary of everything that is not passed through."""
        try:
            method = environ["REQUEST_METHOD"]
            if method == "OPTIONS":
                return answers.options(environ, start_response)
            if method not in {"GET", "HEAD"}:
                raise MethodNotAllowed(
                    f"This address answers {METHODS} only.", headers={"Allow": METHODS}
                )
            return answer(what, environ, start_response)
        except ProxyError as caught:
            error = caught
            if error.status >= 500:
                log.warning("%s %s", error.status, error)
        except Exception as caught:
            error = for_want(caught) or ProxyError("The server could not answer this request.")
            if error.cause:
                log.warning("%s %s", error.status, error)
            else:
                log.exception("a request failed")
        status, fields, body = self.own.error(error, path, environ)
        start_response(status, fields)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    # What was answered before

    def has(self, host: str | None, path: str) -> bool:
        """Whether a GET of this path (as it was sent) is answered from this machine's disk at
        once, and nothing has to be waited for. A server may then spare it a thread."""
        hot = self._hot.get((host, path))
        return hot is not None and self.service.at_hand(hot.located)

    def _hit(
        self, hot: "Hot", environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes] | None:
        """A stored image that this process has answered before: no parsing, no lock, one file.

        None: not so any more, and the whole way must be gone.
        """
        begun = time.perf_counter()
        located = hot.located
        if hot.base != self.peers.base(environ) or not self.service.current(located):
            return None
        if "HTTP_IF_NONE_MATCH" in environ or "HTTP_IF_MODIFIED_SINCE" in environ:
            return None
        entry = self.service.find(located)
        if entry is None:
            return None
        given = environ.get("HTTP_X_REQUEST_ID", "")
        if given and not self.peers.trusts(environ.get("REMOTE_ADDR", "")):
            given = ""
        name = located.source.record.identifier
        telling.hit(hot.line, hot.path, name, located.key.name, entry.size, begun, given)
        return self._send(environ, start_response, hot.fields, entry, True)

    def _controlled_hit(
        self, path: str, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes] | None:
        """With a policy, an answer is remembered for each class by itself."""
        tier = self.access.tier(environ)
        hot = self._hot.get((environ.get("HTTP_HOST"), path, tier)) if tier else None
        return self._hit(hot, environ, start_response) if hot else None

    def _heat(self, environ: Environ, located: Located, fields: Headers, tier: str | None) -> None:
        """Remember an answer for `_hit`."""
        if self.access.controlled and tier is None:
            return
        record = located.source.record
        if record.path and record.template:
            return  # A template before this file's may have the image by now: it must be asked.
        if len(self._hot) >= HOT:
            self._hot.clear()
        path, host = raw_target(environ).partition("?")[0], environ.get("HTTP_HOST")
        if len(path) > LONG or len(host or "") > LONG:
            return  # Of these anybody can think of 20,000, for one image.
        # The host too: an application may have another image of this name on another host.
        # Without the source's bytes: they are an open file.
        if located.source.held is not None:
            located = dataclasses.replace(located, source=SourceImage(record))
        line = telling.remembered(path, record.identifier, located.key.name)
        key = (host, path)
        self._hot[(*key, tier) if tier else key] = Hot(
            path, self.peers.base(environ), located, fields, line
        )

    # The three kinds of IIIF requests

    def _base(
        self, request: BaseRequest, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        return answers.see_other(
            self._uri(request, environ) + "/info.json", environ, start_response
        )

    def _info(
        self, request: InfoRequest, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        accept = environ.get("HTTP_ACCEPT")
        if not request.versioned:
            version = urls.version_for(accept, self.settings.default_version)
            request = dataclasses.replace(request, api=urls.VERSIONS[version])
        about = self.flow.described(request.identifier, environ)
        grant, number = about.grant, request.api.NUMBER
        source, info = self.service.info(about.identifier, environ)
        if number == 2 and about.reduced and not about.open:
            # Authentication API 1.0, 3.2: to the description of what strangers may have.
            lower = dataclasses.replace(request, identifier=about.reduced)
            location = self._uri(lower, environ) + "/info.json"
            fields = self._caching(source.record, grant, False)
            return answers.found(location, fields, environ, start_response)
        extras = self.offering.within(
            self._extras(about.identifier), request.identifier, info, number, environ, grant
        )
        stored = self.service.stored(about.identifier, source, info)
        scope = self.access.scope(grant, info, stored)
        document = request.api.document(
            info,
            self._uri(request, environ),
            grant.limits,
            grant.features,
            with_services(extras, about, self._own_address(environ), number),
            scope,
        )
        profile = profile_of(request.api.PROFILE, scope, grant.features)
        fields = [
            ("Content-Type", request.api.content_type(accept)),
            *self._caching(
                source.record, grant, grant.alike and not about.auth and scope == grant.scope
            ),
            ("Link", f'<{profile}>;rel="profile"'),
            ("Vary", "Authorization, Accept" if about.auth else "Accept"),
        ]
        # In 1.0 the status says whether there is access, in 2.0 the probe service.
        status = "200 OK"
        if number == 2 and not about.open:
            status = "401 Unauthorized"
            fields.append(("WWW-Authenticate", 'Bearer realm="iiif"'))
        answer = answers.document(environ, start_response, document, fields, status)
        return answers.Before(answer, lambda: self.service.show(source, environ))

    def _manifest(
        self, request: InfoRequest, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        about = self.flow.described(request.identifier, environ)
        grant = about.grant
        source, info = self.service.info(about.identifier, environ)
        scope = self.access.scope(grant, info, self.service.stored(about.identifier, source, info))
        thumbnails = scope.listed
        if thumbnails is None and not scope.sizes:
            thumbnails = sizes(info, grant.limits, grant.features)
        label, extras = request.identifier.rpartition("/")[2], self._extras(request.identifier)
        uri = self._uri(request, environ)
        document = manifest.document(
            info,
            uri,
            request.api.NUMBER,
            label,
            grant.limits,
            extras,
            annotations_of(self.settings, request.identifier),
            thumbnails,
            with_services(Extras(), about, self._own_address(environ), request.api.NUMBER),
        )
        fields = [
            ("Content-Type", manifest.CONTENT_TYPE),
            *self._caching(
                source.record, grant, grant.alike and not about.auth and scope == grant.scope
            ),
        ]
        return answers.document(environ, start_response, document, fields)

    def _handed(self, request: ImageRequest, located: Located) -> bool:
        """Whether workers elsewhere will make it, and put it where all machines find it."""
        if self._requests is None:
            return False
        service, api = self.service, request.api
        params = api.canonical(located.plan, located.info, service.limits, service.features)
        head = f"{self._prefix}/{api.NUMBER}/{urls.encode(request.identifier)}"
        return self._requests(f"{head}/{params}")

    def _image(
        self, request: ImageRequest, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        for _ in range(CHANGES):
            try:
                return self._image_as_it_is(request, environ, start_response)
            except SourceChanged:
                log.info("the source of %s changed under way", request.identifier)
        raise OriginFailed("The source of this image keeps changing.")

    def _image_as_it_is(
        self, request: ImageRequest, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        name, grant = self.flow.asked(request.identifier, environ)
        located = self._located(grant, dataclasses.replace(request, identifier=name), environ)
        plan, info = located.plan, located.info
        telling.planned(located.key.name)
        canonical = self._canonical(request, located, environ)
        if self.settings.canonical_redirect and not self._is(canonical, environ):
            return answers.see_other(canonical, environ, start_response)
        verdict = self.access.admit(grant, plan, info, lambda: self.service.has(located), environ)
        if verdict is not Verdict.STORED and self.access.controlled:
            kept = verdict is not Verdict.UNSTORED
            located = dataclasses.replace(located, kept=kept, owner=grant.owner)
        shared = grant.shared(
            plan, info, lambda limits: resolve(request, info, limits, self.service.features)
        )
        links = link(canonical, profile_of(request.api.PROFILE, grant.scope, grant.features))
        fields = [
            *answers.image_headers(located.media_type, located.etag, located.modified, links),
            *self._caching(located.source.record, grant, shared, self.settings.max_age),
        ]
        if not_modified(environ, located.etag, located.modified):
            return answers.unchanged([*fields, answers.HIT], start_response)
        if self.settings.expensive != "wait":
            bound = self.settings.expensive_pixels

            def hand() -> bool:
                return self._handed(request, located)

            later = self.service.postpone(located, environ, bound, hand)
            if later is not None:
                smaller = self.settings.expensive == "smaller"
                entry = self.service.smaller(located) if smaller else None
                if entry is None:
                    raise later
                return answers.stand_in(
                    environ, start_response, located.media_type, links, entry, later.headers
                )
        stale = located.source.record.failing_since > 0
        address = self.service.elsewhere(located) if shared and not stale else None
        if address is not None:
            caching = self._caching(located.source.record, grant, shared, most=address.seconds)
            away = [*caching, ("Link", links), answers.HIT]
            return answers.found(address.url, away, environ, start_response)
        begun = time.perf_counter()
        derivative = self.service.derive(located, environ)
        if not derivative.hit:
            metrics.MAKING.observe(time.perf_counter() - begun)
        if located.kept and not stale:
            self._heat(environ, located, fields, grant.tier)
        entry, hit = derivative.entry, derivative.hit
        return self._send(environ, start_response, fields, entry, hit, stale)

    # What several of them need

    def _located(self, grant: Grant, request: ImageRequest, environ: Environ) -> Located:
        """By the limits of whoever asks; what only these refuse is forbidden, not wrong."""
        try:
            return self.service.locate(request, environ, grant.limits)
        except InvalidRequest:
            if grant.limits == self.service.limits:
                raise
        located = self.service.locate(request, environ)
        width, height = largest(located.plan.box, grant.limits, False)
        raise NotAllowed(f"You may have this region at {width},{height} pixels at most.")

    def _own_address(self, environ: Environ) -> str:
        return f"{self.peers.base(environ)}{self._prefix}/-"

    def _uri(self, request: IIIFRequest, environ: Environ) -> str:
        return urls.uri(self.peers.base(environ), self._prefix, request)

    def _canonical(self, request: ImageRequest, located: Located, environ: Environ) -> str:
        tail = request.api.canonical(
            located.plan, located.info, self.service.limits, self.service.features
        )
        return f"{self._uri(request, environ)}/{tail}"

    def _is(self, uri: str, environ: Environ) -> bool:
        """Whether `uri` was asked for. Browsers send `^` as %5E: that is no other spelling."""
        path = raw_target(environ).partition("?")[0]
        if path.startswith(f"{self._prefix}/-/"):
            return True  # A preset, which is to be the image itself.
        asked = self.peers.base(environ) + path
        return uri.replace("^", "%5E") == asked.replace("^", "%5E").replace("%5e", "%5E")

    def _caching(
        self,
        record: Any,
        grant: Grant,
        shared: bool,
        private: float = 0,
        most: float = math.inf,
    ) -> Headers:
        """Cache-Control, and Vary where answers go by who asks; `private` seconds for those."""
        longest = min(self.settings.max_age, most)
        age = longest if record.path else min(longest, record.lifetime)
        if shared:
            return [("Cache-Control", cache_control(age, record.keep))]
        said = cache_control(min(age, private, grant.seconds), record.keep).replace(
            "public", "private"
        )
        return [("Cache-Control", said), *([("Vary", grant.vary)] if grant.vary else [])]


def _raise(error: ProxyError, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    raise error


def filter_factory(global_conf: Mapping[str, str], **keywords: str) -> Callable[[App], IIIFProxy]:
    """PasteDeploy: `paste.filter_factory`, name `main`; keywords are settings by name."""
    settings: dict[str, Any] = dict(keywords)
    return lambda app: IIIFProxy(app, **settings)
