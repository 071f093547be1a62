"""The page's files, and `config.json` with the services' addresses as the reader's browser can reach them."""

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.types import Message, Receive, Scope, Send

from services.kit.auth import public
from services.terminal.settings import Settings


class PageFiles(StaticFiles):
    """The files of the page: asked for again at every load, and allowed to load nothing from elsewhere."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(directory=settings.terminal_web, html=True)
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one file."""
        policy = content_policy(addresses(Request(scope), self._settings)).encode()

        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    (b"content-security-policy", policy),
                    (b"cache-control", b"no-cache"),
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),
                ]
            await send(message)

        await super().__call__(scope, receive, send_with_policy)


def addresses(request: Request, settings: Settings) -> dict[str, str]:
    """Return the services' addresses: the configured ones, else the front door's where the request came through it,
    else this request's host with their ports.
    """
    if settings.terminal_market_data_url is None and "x-forwarded-host" in request.headers:
        scheme = {"https": "wss"}.get(request.url.scheme, "ws")
        return {"market_data": "", "feed": f"{scheme}://{request.url.netloc}/v1/feed", "listings": ""}
    host = request.url.hostname or settings.host
    host = f"[{host}]" if ":" in host else host
    market_data = settings.terminal_market_data_url or f"http://{host}:{settings.market_data_port}"
    listings = settings.terminal_listings_url or f"http://{host}:{settings.listings_port}"
    return {"market_data": market_data, "feed": f"ws{market_data.removeprefix('http')}/v1/feed", "listings": listings}


def content_policy(found: dict[str, str]) -> str:
    """Return the Content-Security-Policy under which the page may talk to these addresses alone."""
    feed = found["feed"].removesuffix("/v1/feed")
    talks_to = " ".join(("'self'", found["market_data"], feed, found["listings"]))
    return f"default-src 'self'; connect-src {talks_to}; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'"


def add_routes(app: FastAPI, settings: Settings) -> None:
    """Add `config.json`, and the page under everything that has no route of its own."""

    @app.get("/config.json")
    @public
    async def config(request: Request) -> Response:
        """Where the page finds the services."""
        return JSONResponse(addresses(request, settings), headers={"Cache-Control": "no-store"})

    app.mount("/", PageFiles(settings))
