"""Page tokens: opaque, and good only for the request that made them (AIP-158)."""

import base64
import binascii
import hmac
from typing import Any

from google.protobuf.message import Message

from asteros import errors
from asteros.services.call import Call

DEFAULT_SIZE = 50
MAX_SIZE = 1000
_MAC = 12  # bytes


class Pages:
    """Makes and reads page tokens with the store's secret."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def size(self, request: Any, default: int = DEFAULT_SIZE) -> int:
        """0 means the default, too large means the most."""
        return min(request.page_size or default, MAX_SIZE)

    def start(self, call: Call, request: Any) -> str:
        """What the token of this request says: where to go on; "" for the first page.

        :raises InvalidCursor: forged, of another tenant, or of another request."""
        if not request.page_token:
            return ""
        try:
            raw = base64.urlsafe_b64decode(request.page_token.encode("ascii"))
        except (UnicodeEncodeError, binascii.Error):
            raise errors.InvalidCursor("page_token") from None
        mac, after = raw[:_MAC], raw[_MAC:]
        if not hmac.compare_digest(mac, self._mac(call, request, after)):
            raise errors.InvalidCursor("page_token")
        return after.decode()

    def token(self, call: Call, request: Any, after: str) -> str:
        """A token for the page after ``after``."""
        data = after.encode()
        return base64.urlsafe_b64encode(self._mac(call, request, data) + data).decode("ascii")

    def _mac(self, call: Call, request: Message, after: bytes) -> bytes:
        bound = type(request)()
        bound.CopyFrom(request)
        bound.ClearField("page_token")
        bound.ClearField("page_size")
        parts = (call.caller.tenant.encode(), call.method.encode(), bound.SerializeToString(deterministic=True), after)
        text = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.digest(self._secret, text, "sha256")[:_MAC]
