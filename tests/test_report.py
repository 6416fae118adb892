import base64
import json
import re
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from browser import FLAGS, browser

from tellsign import __version__
from tellsign.errors import UserError
from tellsign.results.figures.bar_chart import draw
from tellsign.results.figures.files import png_bytes, svg_bytes
from tellsign.results.tables.document import Column, Document, Section, TextRow
from tellsign.results.tables.writers import FORMATS
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


def table(tmp_path, name="tidy/main.0123456789ab", footnotes=("footnote",)):
    folder = tmp_path / "table" / name
    folder.mkdir(parents=True)
    rows = (TextRow(("a", "9 < 10")),)
    section = Section("panel", (Column("", ""), Column("", "ours")), rows)
    document = Document("tidy", "main", "ACC & AP", "", "", (section,), footnotes, ())
    (folder / "table.json").write_text(FORMATS["json"](document))
    (folder / "table.csv").write_text("method,recipe,code,data\na,r<1>,c1,d1\nb,r2,c1,d1\n")
    return folder


def figure(tmp_path, name="mpft/ratio.ba9876543210"):
    folder = tmp_path / "figure" / name
    folder.mkdir(parents=True)
    values = np.ones((1, 1))
    drawn = draw(values, values, series=["a"], groups=["b"], metric="auc", title='"Bars" < 2')
    (folder / "figure.svg").write_bytes(svg_bytes(drawn))
    (folder / "figure.png").write_bytes(png_bytes(drawn))
    words = {"title": '"Bars" < 2', "note": "", "banner": ""}
    (folder / "figure.json").write_text(json.dumps(words))
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
    assert (
        page.all("img", "alt") == ['"Bars" < 2']
        and "<li>footnote</li>" in text
        and "<td>9 &lt; 10</td>" in text
        and "<h4>panel</h4>" in text
    )


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


def test_what_stands_under_several_tables_stands_once_above_them(tmp_path):
    names = ("tidy/main.0123456789ab", "tidy/other.0123456789ab")
    notes = (("of all", "† of main"), ("of all", "† of main", "of other"))
    text = make(tmp_path, [table(tmp_path, *pair) for pair in zip(names, notes, strict=True)], [])
    assert text.count("<li>of all</li>") == 1 and text.index("<li>of all</li>") < text.index('id="tidy"')
    assert text.count("<li>† of main</li>") == 2  # a mark explains its own table
    assert text.count("<li>of other</li>") == 1 and text.index("<li>of other</li>") > text.index(
        'id="table-tidy-other"'
    )


def test_the_page_says_what_it_holds_and_what_made_it(tmp_path):
    text = make(tmp_path, [table(tmp_path)], [figure(tmp_path)])
    assert f"1 table and 1 figure,\nmade by tellsign {__version__}." in text


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


MEASURE = """
<script>
const page = document.documentElement, boxes = [...document.querySelectorAll(".scroll")];
document.title = JSON.stringify({
  page: page.scrollWidth - page.clientWidth,
  boxes: boxes.map(box => {
    const style = getComputedStyle(box), place = box.getBoundingClientRect();
    return {
      hidden: box.scrollWidth - box.clientWidth,
      scrolls: ["auto", "scroll"].includes(style.overflowX),
      beyond: place.right - page.clientWidth,
    };
  }),
});
</script>
"""


def measured_by_a_browser(page, width, tmp_path):
    """How far the page and the boxes of its tables are wider than what is seen of them, in pixels."""
    flags = [*FLAGS, f"--window-size={width},800", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    measuring = tmp_path / "measuring.html"
    measuring.write_text(page.replace("</body>", f"{MEASURE}</body>"))
    made = subprocess.run(
        [browser(), *flags, measuring.as_uri()], check=True, capture_output=True, text=True, timeout=120
    )
    return json.loads(re.search(r"<title>(.*?)</title>", made.stdout)[1])


@pytest.mark.parametrize(("width", "fits"), [(1280, True), (600, False)])
def test_a_table_of_eight_subsets_is_seen_whole_or_scrolls_in_its_own_box(tmp_path, width, fits):
    subsets = (
        "ae_nearest",
        "fsq",
        "layout_gan",
        "ldm",
        "pixel_ddpm",
        "sr_bilinear",
        "sr_shuffle",
        "vae_deconv",
        "mean",
    )
    columns = (Column("", ""), *(Column("", subset) for subset in subsets))
    rows = tuple(TextRow((label, *["100.0 ± 10.0"] * 9)) for label in ("Frozen CLIP, nearest neighbour", "MPFT"))
    document = Document("tidy", "main", "T", "", "", (Section("Ours, by subset", columns, rows),), (), ())
    folder = table(tmp_path)
    (folder / "table.json").write_text(FORMATS["json"](document))
    shown = measured_by_a_browser(make(tmp_path, [folder], []), width, tmp_path)
    (box,) = shown["boxes"]
    assert shown["page"] <= 0 and box["beyond"] <= 0 and box["scrolls"]
    assert (box["hidden"] <= 0) == fits
