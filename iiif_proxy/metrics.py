"""The counters, declared once."""

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter(
    "iiif_proxy_requests_total", "IIIF requests by kind and status", ["kind", "status"]
)
DERIVATIVES = Counter(
    "iiif_proxy_derivatives_total", "Images answered, by what the cache had", ["cache"]
)
SHARED = Counter(
    "iiif_proxy_shared_cache_total",
    "What became of it in the cache of several machines: hit, miss, away (it did not answer),"
    " kept, present (another machine was first), dropped (too many waited)",
    ["outcome"],
)
BYTES = Counter("iiif_proxy_answered_bytes_total", "Bytes of answers' bodies by kind", ["kind"])
SOURCES = Counter(
    "iiif_proxy_source_answers_total",
    "What sources said: new, unchanged, file, missing, or a status of ours",
    ["outcome"],
)
STALE = Counter(
    "iiif_proxy_stale_sources_total", "Times a stale source was served because the origin failed"
)
REFUSED = Counter(
    "iiif_proxy_silent_origin_refusals_total",
    "Requests not sent to an origin that does not answer (one at a time goes on asking)",
)
SILENT = Gauge(
    "iiif_proxy_silent_origins",
    "Origins that do not answer, counted by each process",
    multiprocess_mode="livesum",
)
MAKING = Histogram(
    "iiif_proxy_make_seconds",
    "Time to make an image that was not stored",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
PROFILES = Counter(
    "iiif_proxy_profiles_passed_over_total",
    "Colour profiles that were broken or belonged to other pixels, each time they were met",
)
DECODERS = Counter(
    "iiif_proxy_decoders_lost_total",
    "Processes that decoded a source and crashed, or overran IIIF_PROXY_DECODE_TIMEOUT",
    ["outcome"],
)
STAGES = Histogram(
    "iiif_proxy_stage_seconds",
    "Time in one stage of a request: fetch, wait (for a turn), decode, transform, encode",
    ["stage"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
WAITING = Gauge(
    "iiif_proxy_waiting", "Requests that wait for a turn to decode", multiprocess_mode="livesum"
)
DECODING = Gauge(
    "iiif_proxy_decoding_pixels",
    "Pixels of the budget that are being decoded",
    multiprocess_mode="livesum",
)
