"""`tellsign serve`: the page by plain HTTP, and in a headless Chromium."""

from __future__ import annotations

import asyncio
import contextlib
import io
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from aiohttp import web
from browser import tabs
from PIL import Image, PngImagePlugin
from small_runs import BRIEF, trained_runs

from tellsign.__main__ import run
from tellsign.commands import predict, serve
from tellsign.errors import UserError
from tellsign.prediction import server
from tellsign.prediction.page import PictureAsker, style
from tellsign.prediction.predictor import Predictor
from tellsign.prediction.server import application, refusal

RUN = BRIEF | {"mask": {"name": "texture_aware", "ratio": [0.4, 0.6]}}
LIMIT = 200_000


def png(seed: int, size: tuple[int, int] = (90, 80), **options: Any) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", **options)
    return stream.getvalue()


@pytest.fixture(scope="module")
def trained_plan(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A folder with a trained run ``toys/a``, and its plan."""
    return trained_runs(tmp_path_factory, RUN, {"a": {}}, untrained={"b": {"epochs": 2}})


@pytest.fixture
def there(trained_plan, monkeypatch):
    folder, plan = trained_plan
    monkeypatch.chdir(folder)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(serve, "plan_of", lambda _file, _given: plan)
    return plan


@pytest.fixture
def asker(there):
    (source,) = predict.sources_of(there, "toys/a", Path("c.yaml"), [])
    return PictureAsker([Predictor(source, "cpu")], 0.5, "A <banner>.", "How to read.", LIMIT)


def said_by(name: str, data: bytes) -> tuple[bool, str]:
    """Says the name and size of a file and takes its time, in place of detectors."""
    time.sleep(0.05)
    return data != b"bad", f"{name}: {len(data)}"


@contextlib.asynccontextmanager
async def served(look: server.Look = said_by, front: Callable[[str], str] = "front {}".format) -> AsyncIterator[str]:
    """The address of the page."""
    runner = web.AppRunner(application(look, front, style(), LIMIT, ["my-box"]), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


def asked(ask: Callable[[aiohttp.ClientSession, str], Awaitable[Any]], **given: Any) -> Any:
    """What a client gets of the page."""

    async def both() -> Any:
        async with served(**given) as url, aiohttp.ClientSession() as session:
            return await ask(session, url)

    return asyncio.run(both())


async def answer(request: Any) -> tuple[int, str]:
    async with request as response:
        assert response.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self'")
        assert response.headers["Cache-Control"] == "no-store"
        return response.status, await response.text()


def upload(session: aiohttp.ClientSession, url: str, data: bytes, name: str = "a.png", **options: Any) -> Any:
    form = aiohttp.FormData(quote_fields=False)
    form.add_field("picture", io.BytesIO(data), filename=name)
    return answer(session.post(url, data=form, **options))


def test_a_picture_goes_in_and_its_page_comes_out_without_a_file(monkeypatch):
    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError("a temporary file")

    for name in ("TemporaryFile", "NamedTemporaryFile", "SpooledTemporaryFile"):
        monkeypatch.setattr(tempfile, name, refused)
    assert asked(lambda session, url: answer(session.get(url))) == (200, "front ")
    assert asked(lambda session, url: upload(session, url, b"x" * 100_000)) == (200, "a.png: 100000")
    assert asked(lambda session, url: upload(session, url, b"bad")) == (422, "a.png: 3")


@pytest.mark.parametrize(
    ("data", "status", "said"),
    [
        (b"x" * (LIMIT + 1), 413, "larger than 0.2 MB"),
        (b"x" * LIMIT, 200, f"a.png: {LIMIT}"),
    ],
)
def test_the_limit(data, status, said):
    got = asked(lambda session, url: upload(session, url, data))
    assert got[0] == status and said in got[1]


def test_the_limit_holds_where_no_length_is_said():
    async def endless() -> AsyncIterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="picture"; filename="a.png"\r\n\r\n'
        for _ in range(100):
            yield b"x" * 10_000

    head = {"Content-Type": "multipart/form-data; boundary=b"}
    status, said = asked(lambda session, url: answer(session.post(url, data=endless(), headers=head)))
    assert status == 413 and "larger than" in said


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        ("application/json", b"{}", "No picture was sent"),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data; name=other\r\n\r\nx\r\n--b--",
         "No picture was sent"),
        ("multipart/form-data; boundary=b", b"--b--\r\n", "No picture was sent"),
        ("multipart/form-data; boundary=b", b"nonsense", "damaged"),
        ("multipart/form-data", b"nonsense", "damaged"),
        ("multipart/form-data; boundary=b", b"--b\r\nno header\r\n\r\nx\r\n--b--", "damaged"),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="picture"; filename=""\r\n'
         b"\r\n\r\n--b--\r\n", "Choose a picture first"),
    ],
)  # fmt: skip
def test_what_is_no_upload(kind, body, said):
    got = asked(lambda session, url: answer(session.post(url, data=body, headers={"Content-Type": kind})))
    assert got[0] == 400 and said in got[1]


def test_a_slow_upload_ends(monkeypatch):
    monkeypatch.setattr(server, "SECONDS", 0.1)

    async def slow() -> AsyncIterator[bytes]:
        yield b"--b\r\n"
        await asyncio.sleep(0.4)

    head = {"Content-Type": "multipart/form-data; boundary=b"}
    assert asked(lambda session, url: answer(session.post(url, data=slow(), headers=head)))[0] == 408


def test_two_at_once_get_their_own_and_too_many_are_asked_to_wait(monkeypatch):
    async def together(session: aiohttp.ClientSession, url: str) -> list[tuple[int, str]]:
        return await asyncio.gather(*(upload(session, url, b"x" * i, f"{i}.png") for i in range(1, 5)))

    assert asked(together) == [(200, f"{i}.png: {i}") for i in range(1, 5)]
    monkeypatch.setattr(server, "AT_ONCE", 2)
    assert sorted(status for status, _ in asked(together)) == [200, 200, 503, 503]


@pytest.mark.parametrize(
    "path", ["../etc/passwd", "%2e%2e/etc/passwd", "etc/passwd", "config/config.yaml", "static/../page.css/../x", "//a"]
)
def test_no_file_is_served(path):
    async def raw(_session: aiohttp.ClientSession, url: str) -> bytes:
        host = url.removeprefix("http://").rstrip("/")
        reader, writer = await asyncio.open_connection(*host.split(":"))
        writer.write(f"GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        got = await reader.read()
        writer.close()
        await writer.wait_closed()
        return got

    got = asked(raw)
    assert got.startswith(b"HTTP/1.1 404") and b"root:" not in got


def test_the_name_of_a_file_is_a_name_alone():
    for name in ("../../etc/passwd", "C:\\x\\passwd"):
        assert asked(lambda session, url, name=name: upload(session, url, b"x", name))[1] == "passwd: 1"


@pytest.mark.parametrize(
    ("host", "origin", "why"),
    [
        ("127.0.0.1:8765", None, ""),
        ("127.0.0.1:8765", "http://127.0.0.1:8765", ""),
        ("localhost:1", "http://localhost:1", ""),
        ("[::1]:8765", "http://[::1]:8765", ""),
        ("192.168.1.5:80", None, ""),
        ("my-box:80", None, ""),
        ("evil.example:8765", None, "address alone"),
        ("127.0.0.1.evil.example", None, "address alone"),
        ("", None, "address alone"),
        ("127.0.0.1:8765", "http://evil.example", "another page"),
        ("127.0.0.1:8765", "http://127.0.0.1:1", "another page"),
        ("127.0.0.1:8765", "null", "another page"),
    ],
)
def test_other_hosts_and_origins(host, origin, why):
    got = refusal(host, origin, frozenset({"my-box"}))
    assert why in got and bool(got) == bool(why)


def test_other_hosts_and_origins_are_refused_by_http():
    def foreign(session: aiohttp.ClientSession, url: str) -> Any:
        return upload(session, url, b"x", headers={"Origin": "http://evil.example"})

    assert asked(foreign) == (403, "This request comes from another page.\n")
    rebound = asked(lambda session, url: answer(session.get(url, headers={"Host": "evil.example"})))
    assert rebound[0] == 403 and "address alone" in rebound[1]


def test_the_page_says_what_predict_says(asker, there):
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", "a <castle>")
    data = png(1, (90, 60), pnginfo=text)
    good, page = asker.look("<b>.png", data)
    (source,) = predict.sources_of(there, "toys/a", Path("c.yaml"), [])
    score = float(Predictor(source, "cpu").predict([data])[0])
    assert good and f"{score:.3f}" in page and "PNG, 90 × 60 px" in page
    assert f'class="{"fake" if score > 0.5 else "real"}"' in page and "A &lt;banner&gt;." in page
    assert "&lt;b&gt;.png" in page and "<b>" not in page and "PNG parameters: a &lt;castle&gt;" in page
    assert page.count("smaller than the crop of 72 px: tiled") == 1
    for name in ("what it sees", "where it looks", "under its texture mask"):
        assert f'alt="toys/a-s0: {name}"' in page


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.txt", b"hello", "not an image: a list or text"),
        ("a.png", png(0)[:2000], "corrupt"),
        ("a.heic", b"\0\0\0\x18ftypheic", "corrupt"),
        ("a.dng", png(0), "raw"),
        ("a.png", b"", "empty"),
    ],
)
def test_files_that_are_no_pictures(asker, name, data, said):
    good, page = asker.look(name, data)
    assert not good and 'role="alert"' in page and said in page and 'id="result"' not in page


def test_a_browser_uploads_for_two_people_and_shows_what_is_wrong(asker, tmp_path):
    async def people() -> list[list[Any]]:
        seen = []
        async with served(asker.look, asker.front) as url, tabs(tmp_path / "profile", 2) as both:
            for name, data in (("one.png", png(1)), ("two.png", png(2)), ("bad.jpg", b"no"), ("big.png", b"x" * 10**6)):
                (tmp_path / name).write_bytes(data)
            for names in (("one.png", "two.png"), ("bad.jpg", "big.png")):
                await asyncio.gather(*(tab.open(url) for tab in both))
                await asyncio.gather(
                    *(tab.choose("#picture", tmp_path / name) for tab, name in zip(both, names, strict=True))
                )
                await asyncio.gather(*(tab.submit() for tab in both))
                seen.append([await tab.value("document.body.innerText") for tab in both])
            await both[0].open(url)
            await both[0].choose("#picture", tmp_path / "one.png")
            await both[0].submit()
            broken = "[...document.images].filter(i => !i.naturalWidth).length"
            styled = "getComputedStyle(document.querySelector('.detectors')).display"
            seen.append([await both[0].value(script) for script in ("document.images.length", broken, styled)])
            wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            for width in (1366, 500):
                await both[0].resize(width)
                seen.append([await both[0].value(wide)])
        return seen

    (tmp_path / "profile").mkdir()
    results, wrong, *rest = asyncio.run(people())
    for name, said in zip(("one.png", "two.png"), results, strict=True):
        assert name in said and "p(fake) =" in said and "toys/a-s0" in said
    assert "bad.jpg: not an image" in wrong[0] and "larger than 0.2 MB" in wrong[1]
    assert rest == [[4, 0, "grid"], [0], [0]]  # the picture and three of the detector


def test_the_command_asks_the_first_trained_run_of_each_paper(there, monkeypatch, capsys):
    kept: dict[str, Any] = {}
    monkeypatch.setattr(web, "run_app", lambda app, sock, **_: kept.update(app=app, address=sock.getsockname()))
    assert run(["serve", "--port", "0", "--device", "cpu"]) == 0
    assert len(kept["app"].router.routes()) == 5 and kept["address"][0] == "127.0.0.1"
    assert f"Open http://127.0.0.1:{kept['address'][1]}/ to ask toys/a-s0." in capsys.readouterr().out


def test_wrong_use(there, caplog, monkeypatch, tmp_path):
    busy = pytest.raises(UserError, match=r"cannot listen at 127.0.0.1, port .* --port 0")
    with socket.create_server(("127.0.0.1", 0)) as taken, busy:
        serve.listener("127.0.0.1", taken.getsockname()[1])
    for arguments, said in (
        (["--limit", "0"], "--limit is 0 MB"),
        (["--threshold", "-1"], "--threshold is -1"),
        (["--run", "toys/b", "--port", "0"], "toys/b of config/config.yaml has not been trained yet"),
    ):
        assert run(["serve", *arguments]) == 2 and said in caplog.text
    monkeypatch.chdir(tmp_path)
    assert run(["serve"]) == 2 and "nothing to predict with" in caplog.text
