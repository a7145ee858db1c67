"""The counters, declared once."""

from prometheus_client import Counter, Histogram

REQUESTS = Counter(
    "iiif_proxy_requests_total", "IIIF requests by kind and status", ["kind", "status"]
)
DERIVATIVES = Counter(
    "iiif_proxy_derivatives_total", "Images answered, by what the cache had", ["cache"]
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
