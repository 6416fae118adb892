"""A local page for one person's pictures: what comes in is bounded, and nothing of it is written anywhere.

aiohttp, because it is part of the environment already (DVC's); Gradio would bring sixty packages, scripts and a
telemetry that has to be turned off. Imports no torch: what is said of a picture is the caller's function.

Browsers are the danger to a server without a password: any page that is open in one may send requests to it. So a
request must name this machine by address (a name could be anybody's that points here: DNS rebinding), and an upload
must come from the page itself (cross-site request forgery).
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler, Middleware

FIELD = "picture"
"""The field of the form that holds the file."""

SECONDS = 60
"""An upload may take so long."""

AT_ONCE = 8
"""Pictures that may be in memory at once; whoever comes then is asked to come again."""

HEADERS = {
    "Cache-Control": "no-store",
    # no script, nothing from elsewhere, no frame around the page
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    # with no-referrer browsers would hide the origin of our own form
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}

Look = Callable[[str, bytes], tuple[bool, str]]
"""A file's name and bytes → whether it is a picture, and what is said of it as HTML."""


class UploadError(Exception):
    """An upload that is not taken: an HTTP status, and why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def application(look: Look, front: Callable[[str], str], css: str, limit: int, names: Sequence[str]) -> web.Application:
    """The server: ``/`` is the page, and an upload to it is answered by what is said of the picture.

    Args:
        look: What is said of a picture. It runs in one thread, a picture after the other.
        front: The page without a picture; it shows the problem that it is given.
        css: Its style.
        limit: The most bytes that a file may have.
        names: Names by which this machine may be addressed, besides ``localhost`` and addresses.
    """
    thread, places = ThreadPoolExecutor(1), asyncio.Semaphore(AT_ONCE)

    async def page(_request: web.Request) -> web.Response:
        return html(200, front(""))

    async def style(_request: web.Request) -> web.Response:
        return web.Response(text=css, content_type="text/css")

    async def upload(request: web.Request) -> web.Response:
        if places.locked():
            return html(503, front(f"{AT_ONCE} pictures are being looked at. Try again in a moment."))
        async with places:
            try:
                name, data = await received(request, limit)
            except UploadError as problem:
                return html(problem.status, front(str(problem)))
            good, said = await asyncio.get_running_loop().run_in_executor(thread, look, name, data)
        return html(200 if good else 422, said)

    async def end(_app: web.Application) -> None:
        thread.shutdown(cancel_futures=True)

    served = web.Application(middlewares=[guard(frozenset(names))])
    served.add_routes([web.get("/", page), web.get("/page.css", style), web.post("/", upload)])
    served.on_cleanup.append(end)
    return served


def html(status: int, text: str) -> web.Response:
    """A page as an answer."""
    return web.Response(status=status, text=text, content_type="text/html")


def guard(names: frozenset[str]) -> Middleware:
    """What every request goes through: foreign hosts and origins are refused, every answer has `HEADERS`."""

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            if why := refusal(request.headers.get("Host", ""), request.headers.get("Origin"), names):
                raise web.HTTPForbidden(text=f"{why}\n")
            response = await handler(request)
        except web.HTTPException as problem:
            problem.headers.update(HEADERS)
            raise
        response.headers.update(HEADERS)
        return response

    return guarded


def refusal(host: str, origin: str | None, names: frozenset[str]) -> str:
    """Why a request is refused; empty where it is not.

    Args:
        host: Its header Host.
        origin: Its header Origin; None without. Browsers send it with every upload.
        names: Names by which this machine may be addressed, besides ``localhost`` and addresses.
    """
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    if name not in names | {"localhost"} and not is_address(name.removeprefix("[").removesuffix("]")):
        return "This server answers to its address alone, such as 127.0.0.1."
    if origin is not None and origin != f"http://{host}":
        return "This request comes from another page."
    return ""


def is_address(text: str) -> bool:
    """Whether a text is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


async def received(request: web.Request, limit: int) -> tuple[str, bytes]:
    """The name, without folders, and the bytes of the file in an upload.

    Raises:
        UploadError: there is none, it is too large, or it takes too long.
    """
    try:
        async with asyncio.timeout(SECONDS):
            return await file_of(request, limit)
    except TimeoutError:
        raise UploadError(408, f"The upload took longer than {SECONDS} s.") from None


async def file_of(request: web.Request, limit: int) -> tuple[str, bytes]:
    """See `received`. ``request.post`` would write the file to a temporary one."""
    if request.content_type != "multipart/form-data":
        raise UploadError(400, "No picture was sent.")
    too_large = UploadError(413, f"The file is larger than {limit / 1e6:g} MB, the limit of this page (--limit).")
    if (request.content_length or 0) > limit + 10_000:  # the form around the file
        raise too_large
    try:
        part = await (await request.multipart()).next()
        if not isinstance(part, BodyPartReader) or part.name != FIELD:
            raise UploadError(400, "No picture was sent.")
        data = bytearray()
        while chunk := await part.read_chunk(2**16):
            data += chunk
            if len(data) > limit:
                raise too_large
    except (ValueError, HttpProcessingError):
        raise UploadError(400, "The upload is damaged.") from None
    if not part.filename:
        raise UploadError(400, "Choose a picture first, or drop one on the field.")
    return PurePosixPath(part.filename.replace("\\", "/")).name, bytes(data)
