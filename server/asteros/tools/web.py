"""WebFetch: one page of the web as text."""

import asyncio
import re

from asteros.sandbox.outbound import FetchFailed, Outbound
from asteros.tools.base import JsonObject, ToolContext, ToolInfo
from asteros.tools.pages import text_of

MAX_BYTES = 5 * 1024 * 1024  # of a page
MAX_TEXT = 256 * 1024  # characters of one answer
MAX_BODY = 256 * 1024  # characters sent
DEFAULT_TIMEOUT, MAX_TIMEOUT = 30, 120  # seconds
# What belongs to the connection is not the model's to set.
_OWN_HEADERS = re.compile(
    r"(?i)host|connection|content-length|transfer-encoding|accept-encoding|te|trailer|upgrade|expect|keep-alive|proxy-.*"
)


class WebFetch:
    """{"ok", "url", "status", "content_type", "content", "truncated"}; a status of 400 or more is a failure."""

    # rerun stays NEVER: a POST may have taken effect.
    info = ToolInfo(
        name="WebFetch",
        description="Fetches a page of the public web over https and returns it as text, HTML as Markdown.",
        input_schema={
            "type": "object",
            "properties": {
                "url": {"type": "string", "minLength": 1, "maxLength": 8000},
                "method": {"enum": ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"], "description": "Default GET."},
                "headers": {
                    "type": "object",
                    "propertyNames": {"pattern": "^[A-Za-z0-9-]{1,100}$"},
                    "additionalProperties": {"type": "string", "pattern": "^[ -~]{0,4000}$"},
                    "maxProperties": 50,
                },
                "body": {"type": "string", "maxLength": MAX_BODY},
                "timeout": {
                    "type": "number",
                    "exclusiveMinimum": 0,
                    "maximum": MAX_TIMEOUT,
                    "description": f"Seconds. Default {DEFAULT_TIMEOUT}.",
                },
            },
            "required": ["url"],
            "additionalProperties": False,
        },
        timeout=MAX_TIMEOUT + 30.0,
        main_argument="url",
    )

    def __init__(self, outbound: Outbound | None = None) -> None:
        self._outbound = outbound or Outbound()
        # One conversion at a time: they use the processor, and others need it too.
        self._converting = asyncio.Lock()

    async def run(self, args: JsonObject, context: ToolContext) -> JsonObject:  # noqa: ARG002
        """Redirects are followed and judged one by one. ``truncated``: the page has more than is shown."""
        headers: dict[str, str] = args.get("headers", {})
        refused = next((name for name in headers if _OWN_HEADERS.fullmatch(name)), None)
        if refused is not None:
            return {"ok": False, "error": f"the header {refused} cannot be set", "url": args["url"]}
        try:
            reply = await self._outbound.fetch(
                args["url"],
                method=args.get("method", "GET"),
                headers=headers,
                body=args.get("body", ""),
                timeout=args.get("timeout", DEFAULT_TIMEOUT),
                limit=MAX_BYTES,
            )
        except FetchFailed as failed:
            return {"ok": False, "error": failed.sentence, "url": args["url"]}
        async with self._converting:
            text = await asyncio.to_thread(text_of, reply)
        facts: JsonObject = {"url": reply.url, "status": reply.status, "content_type": reply.content_type}
        if text is None:
            return {"ok": False, "error": "the page is not text", **facts, "bytes": len(reply.data)}
        cut = not reply.complete or len(text) > MAX_TEXT
        shown = {**facts, "content": text[:MAX_TEXT].replace("\0", "\ufffd"), "truncated": cut}
        if reply.status >= 400:
            return {"ok": False, "error": f"the server answered with status {reply.status}", **shown}
        return {"ok": True, **shown}
