import base64
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from tellsign.errors import UserError
from tellsign.results.figures import bars, png_bytes, svg_bytes
from tellsign.stages import report

SETTINGS = {
    "name": "demo <1>",
    "banner": "Demo & nothing else.",
    "papers": {"mpft": "MPFT", "tidy": "TIDY & ITEM", "lol": "LoL"},
}


class Page(HTMLParser):
    """Tags with their attributes; fails when a tag is closed that was not open."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.stack = [], []
        self.feed(text)
        assert not self.stack

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.stack.append(tag)

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def all(self, tag, attribute):
        return [attrs[attribute] for name, attrs in self.tags if name == tag and attribute in attrs]


def table(tmp_path, name="tidy/main.0123456789ab"):
    folder = tmp_path / "table" / name
    folder.mkdir(parents=True)
    (folder / "table.html").write_text(
        "<html><head><style>td { color: red }</style></head><body>\n<h1>ACC &amp; AP</h1><h2>panel</h2>"
        "<table><tr><td>9 &lt; 10</td></tr></table>"
        "<p>footnote</p></body></html>"
    )
    (folder / "table.csv").write_text("method,recipe,code,data\na,r<1>,c1,d1\nb,r2,c1,d1\n")
    return folder


def figure(tmp_path, name="mpft/ratio.ba9876543210"):
    folder = tmp_path / "figure" / name
    folder.mkdir(parents=True)
    values = np.ones((1, 1))
    drawn = bars(values, values, series=["a"], groups=["b"], metric="auc", title='"Bars" < 2')
    (folder / "figure.svg").write_bytes(svg_bytes(drawn))
    (folder / "figure.png").write_bytes(png_bytes(drawn))
    return folder


def make(tmp_path, tables, figures):
    out = tmp_path / "report.html"
    report.main(settings=SETTINGS, tables=tables, figures=figures, out=out)
    return out.read_text()


def test_page_holds_everything_and_fetches_nothing(tmp_path):
    drawn = figure(tmp_path)
    text = make(tmp_path, [table(tmp_path)], [drawn])
    page = Page(text)
    assert not page.all("link", "href") and not page.all("script", "src")
    (source,) = page.all("img", "src")
    assert source.startswith("data:image/svg+xml;base64,")
    assert base64.b64decode(source.partition(",")[2]) == (drawn / "figure.svg").read_bytes()
    outside = re.sub(r'src="data:[^"]*"', "", text)
    assert "http" not in outside and "url(" not in outside and "color: red" not in outside
    assert page.all("img", "alt") == ['"Bars" < 2'] and "<p>footnote</p>" in text and "<h4>panel</h4>" in text


def test_contents_link_to_every_section_in_the_papers_order(tmp_path):
    page = Page(make(tmp_path, [table(tmp_path)], [figure(tmp_path)]))
    links = page.all("a", "href")
    assert links == [
        "#mpft",
        "#figure-mpft-ratio",
        "#tidy",
        "#table-tidy-main",
    ]  # LoL has nothing, so no entry
    ids = page.all("h2", "id") + page.all("section", "id")
    assert sorted(links) == sorted(f"#{i}" for i in ids)


def test_words_are_escaped_and_digests_shown(tmp_path):
    text = make(tmp_path, [table(tmp_path)], [figure(tmp_path)])
    assert "demo &lt;1&gt;" in text and "Demo &amp; nothing else." in text and "TIDY &amp; ITEM" in text
    assert ">ACC &amp; AP</a> (table)" in text and ">&quot;Bars&quot; &lt; 2</a> (figure)" in text
    assert "recipe <code>r&lt;1&gt;, r2</code>" in text and "code <code>c1</code>" in text
    assert "main.0123456789ab" in text and "<1>" not in text


def test_equal_inputs_give_equal_bytes(tmp_path):
    inputs = [table(tmp_path)], [figure(tmp_path)]
    assert make(tmp_path, *inputs) == make(tmp_path, *inputs)


def test_a_large_svg_gives_way_to_its_png(tmp_path, monkeypatch):
    drawn = figure(tmp_path)
    monkeypatch.setattr(report, "LARGEST_SVG", 10)
    (source,) = Page(make(tmp_path, [], [drawn])).all("img", "src")
    assert base64.b64decode(source.removeprefix("data:image/png;base64,")) == (drawn / "figure.png").read_bytes()


def test_unknown_paper_and_missing_file_are_named(tmp_path):
    with pytest.raises(UserError, match=r"paper 'tdy'.*Did you mean 'tidy'"):
        make(tmp_path, [table(tmp_path, "tdy/main.0123456789ab")], [])
    broken = figure(tmp_path)
    (broken / "figure.svg").unlink()
    with pytest.raises(UserError, match=r"has no figure.svg"):
        make(tmp_path, [], [broken])
