"""Headers that tell browsers, and caches on the way, what not to do with an answer."""

from collections.abc import Sequence

from app.api.access import DOCS, DOCS_ASSETS

_ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),  # for browsers that do not know frame-ancestors
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_NOTHING_RUNS = b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
# The page of the API starts itself with a script of its own, styles its parts in place, and shows
# the figures that somebody asks it for.
_OWN_PAGE = (
    b"default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data: blob:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; "
    b"form-action 'none'"
)

_AS_ASKED = (200, 206, 304)


def security_headers(path: str, status: int) -> Sequence[tuple[bytes, bytes]]:
    """Give what every answer of an address carries.

    Parameters
    ----------
    path : str
        Without the prefix that a gateway mounts the service on.
    status : int
        Of the answer.
    """
    policy = _OWN_PAGE if path == DOCS[0] else _NOTHING_RUNS
    # Results are for the caller alone, and a refusal may not hold the next time; the
    # documentation's scripts are everybody's.
    lasting = path.startswith(f"{DOCS_ASSETS}/") and status in _AS_ASKED
    cache = b"max-age=86400" if lasting else b"no-store"
    return (*_ALWAYS, (b"content-security-policy", policy), (b"cache-control", cache))
