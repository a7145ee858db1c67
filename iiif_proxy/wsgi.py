"""The sidecar under any WSGI server: `gunicorn iiif_proxy.wsgi`."""

from iiif_proxy.proxy import IIIFProxy

application = IIIFProxy()
