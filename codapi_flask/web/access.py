"""Access to the API: tokens, and the origins of web pages."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

# the first three are Codapi's
CORS = {
    "Access-Control-Allow-Methods": "options, post",
    "Access-Control-Allow-Headers": "authorization, content-type",
    "Access-Control-Max-Age": "3600",
    "Access-Control-Expose-Headers": "Retry-After",
}


class Access:
    """The rules of one config; without tokens or origins, every client or page has access."""

    def __init__(self, tokens: Sequence[str] = (), origins: Sequence[str] = ()) -> None:
        self._tokens = [token.encode() for token in tokens]
        self._origins = origins

    def is_granted(self, authorization: str) -> bool:
        """Whether a request with this `Authorization` header may be executed (RFC 6750).

        Takes the same time for every token.
        """
        scheme, _, given = authorization.partition(" ")
        token = given.strip().encode("utf-8", "replace")
        fits = [hmac.compare_digest(token, known) for known in self._tokens]
        return not self._tokens or (scheme.lower() == "bearer" and any(fits))

    def cors(self, origin: str) -> dict[str, str]:
        """Return the headers that let a page of this origin read an answer."""
        if not self._origins:
            return {"Access-Control-Allow-Origin": "*", **CORS}
        if origin in self._origins:
            return {"Access-Control-Allow-Origin": origin, "Vary": "Origin", **CORS}
        return {"Vary": "Origin"}
