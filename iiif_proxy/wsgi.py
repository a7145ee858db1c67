"""The sidecar under any WSGI server: `gunicorn iiif_proxy.wsgi`.

A mistake in the settings is one line on standard error, not a trace, and exit code 3, which tells
gunicorn not to try again.
"""

import sys

from iiif_proxy.proxy import IIIFProxy
from iiif_proxy.settings import SettingsError
from iiif_proxy.telling import to_stderr

try:
    application = IIIFProxy()
except SettingsError as error:
    sys.stderr.write(f"{error}\n")
    raise SystemExit(3) from None
to_stderr(application.settings.log_level, application.settings.log_format)
