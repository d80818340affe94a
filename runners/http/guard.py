"What stands before every answer: the caller's key, the name that was called, and headers that keep the page to itself."

from hmac import compare_digest

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runners.http.settings import HttpSettings, is_loopback

OPEN = ("/healthz", "/readyz", "/", "/docs", "/favicon.ico")  # no secrets: health, and the page without its data
POLICY = "; ".join(
    (
        "default-src 'self'",
        "style-src 'self' 'unsafe-inline'",  # BokehJS styles its elements in place
        "img-src 'self' data: blob:",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'self'",
    )
)
HEADERS = {"content-security-policy": POLICY, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}


class Guard:
    """Refuses callers without the key where one is set. Without a key it answers only to names of this machine, so that a
    web page elsewhere cannot read the service through its visitor's browser (DNS rebinding)."""

    def __init__(self, app: ASGIApp, settings: HttpSettings) -> None:
        self.app = app
        self.key = settings.key().encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        refusal = self.refusal(scope["path"], Headers(scope=scope))
        await (refusal or self.app)(scope, receive, send_with_headers)

    def refusal(self, path: str, headers: Headers) -> JSONResponse | None:
        "An answer that ends the request, or None."
        if not self.key:
            host = headers.get("host", "").rsplit(":", 1)[0].strip("[]")
            return None if is_loopback(host) else JSONResponse({"detail": "call this service as 127.0.0.1 or localhost"}, 421)
        if path in OPEN or path.startswith("/static/"):
            return None
        bearer = headers.get("authorization", "")
        given = headers.get("x-api-key") or (bearer[7:] if bearer.lower().startswith("bearer ") else "")
        if compare_digest(given.encode(), self.key):
            return None
        return JSONResponse({"detail": "send the API key in the header X-API-Key"}, 401, headers={"www-authenticate": "Bearer"})
