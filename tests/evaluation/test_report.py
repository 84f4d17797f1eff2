"""The report: valid JSON of a stable shape, and one page that runs and fetches nothing."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import math
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srae_dist.evaluation import html, report
from srae_dist.evaluation.report import Headline, NotMeasured, Report
from srae_dist.evaluation.section import Picture, Section, Table

EVIL = '"><script>alert(1)</script><img src=https://evil.example/x>'


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(
        np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8)
    )


def section(
    name: str = "leakage", *, pictures: tuple[Picture, ...] = (), **values: object
) -> Section:
    table = Table(
        "Accuracy",
        ["probe", "score", "remark"],
        [["linear", "98.3 % ± 0.1", "high"], ["knn", "-", "not run"]],
    )
    return Section(name, f"About {name}", "One paragraph.\n\nAnother.", values, [table], pictures)


def made(*sections: Section, **more: object) -> Report:
    return Report("a run", "Two domains.", {"srae_dist": "0"}, sections, **more)  # type: ignore[arg-type]


class Page(HTMLParser):
    """Every tag of a page with its attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, name: str) -> list[str]:
        """Every value of an attribute."""
        return [
            value for _, attrs in self.tags for key, value in attrs.items() if key == name and value
        ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (math.nan, None),
        (-math.inf, None),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array([[1.0, math.nan]]), [[1.0, None]]),
        ({"a": (1, Path)}, TypeError),
        ({1: "x"}, {"1": "x"}),
        (b"bytes", TypeError),
    ],
)
def test_values_become_valid_json(value: object, expected: object) -> None:
    if expected is TypeError:
        with pytest.raises(TypeError):
            report.to_json(value)
    else:
        assert json.loads(report.to_json(value), parse_constant=pytest.fail) == expected


def test_the_schema_is_stable(tmp_path: Path) -> None:
    found = made(
        section("leakage", accuracy=np.float64(0.5), auc=math.nan),
        section("embedding", pictures=(Picture("tsne", "points", noise(8, 8)),)),
        headlines=[Headline("domain", "50 %", "chance")],
        not_measured=[NotMeasured("truth", "Truth", "no factors.")],
        time={"seconds": 1.5},
    )
    report.write(found, tmp_path)
    assert json.loads((tmp_path / "report.json").read_text()) == {
        "format": "srae_dist.evaluation",
        "version": 1,
        "srae_dist": "0",
        "headlines": [{"label": "domain", "value": "50 %", "note": "chance"}],
        "sections": {"leakage": {"accuracy": 0.5, "auc": None}, "embedding": {}},
        "not_measured": {"truth": "no factors."},
        "figures": ["figures/tsne.png"],
        "time": {"seconds": 1.5},
    }


def test_equal_findings_are_equal_bytes(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        picture = Picture("tsne", "points", noise(8, 8))
        report.write(made(section(pictures=(picture,), b=1, a=2)), tmp_path / folder)
    for name in ("report.json", "report.html", "figures/tsne.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_pictures_of_an_earlier_report_go_and_a_user_s_stay(tmp_path: Path) -> None:
    pictures = [Picture(name, "", noise(4, 4)) for name in ("old", "both")]
    report.write(made(section(pictures=tuple(pictures))), tmp_path)
    (tmp_path / "figures" / "mine.png").write_bytes(b"mine")
    report.write(made(section(pictures=(pictures[1],))), tmp_path)
    assert {file.name for file in (tmp_path / "figures").iterdir()} == {"both.png", "mine.png"}


def test_a_listed_picture_elsewhere_is_not_deleted(tmp_path: Path) -> None:
    victim = tmp_path / "victim.png"
    victim.write_bytes(b"mine")
    out = tmp_path / "out"
    out.mkdir()
    (out / "report.json").write_text(json.dumps({"figures": ["../victim.png", "figures/../x"]}))
    report.write(made(section()), out)
    assert victim.read_bytes() == b"mine"


def test_no_picture_s_name_leaves_its_folder(tmp_path: Path) -> None:
    names = ("../../x", "a/b", "a_b", "..", "é" * 300)
    pictures = tuple(Picture(name, name, noise(4 + n, 4)) for n, name in enumerate(names))
    report.write(made(section(pictures=pictures)), tmp_path / "out")
    files = sorted(p for p in tmp_path.rglob("*.png"))
    assert {p.parent for p in files} == {tmp_path / "out" / "figures"}
    assert len(files) == len(names)
    assert {Image.open(p).width for p in files} == {4, 5, 6, 7, 8}


def test_nothing_is_written_of_a_report_that_json_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        report.write(made(section(bad=object())), tmp_path)
    assert list(tmp_path.iterdir()) == []


def evil_page() -> str:
    picture = Picture(EVIL, EVIL, noise(4, 4))
    table = Table(EVIL, [EVIL, "n"], [[EVIL, "1"]])
    found = Report(
        EVIL,
        EVIL,
        {},
        [Section("x", EVIL, EVIL, {}, [table], [picture])],
        [Headline(EVIL, EVIL, EVIL)],
        [NotMeasured("y", EVIL, EVIL)],
        made={EVIL: EVIL, "Command": EVIL},
        made_tables=[table],
    )
    return html.render(found)


def test_strangers_texts_stay_texts() -> None:
    page = Page(evil_page())
    assert "script" not in {tag for tag, _ in page.tags}
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    assert page.text.count("<script>") == 21  # wherever it was put, and in the contents
    assert all(src.startswith("data:image/") for src in page.all("src"))


def test_the_page_is_one_file_that_asks_for_nothing() -> None:
    text = evil_page()
    page = Page(text)
    assert "link" not in {tag for tag, _ in page.tags}
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert any("default-src 'none'" in content for content in page.all("content"))


def test_every_link_of_the_contents_arrives() -> None:
    page = Page(
        html.render(made(section("a"), section("b"), not_measured=[NotMeasured("c", "C", "no")]))
    )
    targets = [href.removeprefix("#") for href in page.all("href")]
    assert targets == ["a", "b", "not-measured", "how-it-was-made"]
    assert set(targets) <= set(page.all("id"))


@pytest.mark.parametrize(
    ("cells", "numeric"),
    [
        (["98.3 % ± 0.1", "-"], True),
        (["1,234", "5"], True),
        (["-0.02", "1e-3"], True),
        (["0.0012 ± 3e-05", "31.2 dB"], True),
        (["100.5 (few images)"], True),
        (["50.0 %; 62.5 %", "98.1 %"], True),
        (["linear", "3"], False),
        (["3 images"], False),
        (["-", ""], False),
        (["2026-11-25"], False),
    ],
)
def test_columns_of_numbers_are_set_to_the_right(cells: list[str], numeric: bool) -> None:
    rows = [["x", cell] for cell in cells]
    one = Section("s", "S", "", {}, [Table("t", ["name", "value"], rows)])
    page = Page(html.render(made(one)))
    aligned = [tag for tag, attrs in page.tags if "number" in (attrs.get("class") or "").split()]
    assert aligned == (["th", *["td"] * len(cells)] if numeric else [])


def test_a_command_in_a_reason_is_set_as_code() -> None:
    page = html.render(made(not_measured=[NotMeasured("x", "X", "Run `a <b>` first.")]))
    assert "Run <code>a &lt;b&gt;</code> first." in page


def test_long_tables_are_folded() -> None:
    def folded(rows: int) -> bool:
        table = Table("pairs", ["a"], [["x"]] * rows)
        page = Page(html.render(made(Section("s", "S", "", {}, [table]))))
        return "details" in {tag for tag, _ in page.tags}

    assert not folded(24)
    assert folded(25)


def inlined(image: Image.Image) -> Image.Image:
    page = Page(html.render(made(section(pictures=(Picture("p", "", image),)))))
    (source,) = page.all("src")
    head, _, data = source.partition(",")
    found = Image.open(io.BytesIO(base64.b64decode(data)))
    assert head == f"data:image/{str(found.format).lower()};base64"
    ((_, attrs),) = [tag for tag in page.tags if tag[0] == "img"]
    assert (attrs["width"], attrs["height"]) == tuple(map(str, found.size))
    return found


def test_pictures_are_inside_the_page() -> None:
    small = noise(40, 30)
    assert np.array_equal(np.asarray(inlined(small)), np.asarray(small))


def test_photographs_are_inlined_as_jpeg_and_giants_made_smaller(tmp_path: Path) -> None:
    coarse = noise(12, 9).resize((2600, 1300), Image.Resampling.BICUBIC)
    found = inlined(coarse)
    assert (found.format, found.size) == ("JPEG", (2400, 1200))
    report.write(made(section(pictures=(Picture("p", "", coarse),))), tmp_path)
    assert Image.open(tmp_path / "figures/p.png").size == (2600, 1300)


def test_names_that_no_encoding_holds_are_shown(tmp_path: Path) -> None:
    found = dataclasses.replace(made(section(key="\udcff")), title="run \udcff")
    page = report.write(found, tmp_path)
    assert "\\udcff" in page.read_text(encoding="utf-8")
    assert (
        "udcff" in json.loads((tmp_path / "report.json").read_text())["sections"]["leakage"]["key"]
    )
