"""A URL's user, password and signature are used, and never printed, logged or kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from srae_dist.core.urls import masked, redacted, without_secrets
from srae_dist.data import remote
from tests.bad_use.play import Done, call
from tests.engine.runs import command_line
from tests.hostile.servers import http_server

SECRETS = ("kilroy", "opensesame", "sig=0x5EC2E7", "0x5EC2E7")


def leaks(text: str | bytes) -> list[str]:
    """The secrets that a text holds."""
    data = text.encode() if isinstance(text, str) else text
    return [secret for secret in SECRETS if secret.encode() in data]


@pytest.fixture
def url(face_shards: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """The shards on a server that asks for a signature, and a URL that has one."""
    monkeypatch.setattr(remote, "FIRST_PAUSE", 0.001)
    with http_server(face_shards) as server:
        server.fault = lambda number, path: None if "sig=0x5EC2E7" in path else 403
        place = server.url.replace("http://", "http://kilroy:opensesame@")
        yield f"{place}?sig=0x5EC2E7"


def commands(url: str, root: Path) -> list[str]:
    """A run from a URL: trained, gone on with, shown, measured, asked for neighbours; mistakes."""
    values = {"run.dir": root / "run", "run.trackers": "tensorboard", "train.save_every": 1}
    place = {"data.root": f"'{url}'", "data.cache_dir": root / "cache"}
    recipe = root / "tiny.toml"
    recipe.write_text(f'[data]\nroot = "{url}"\nmake = "srae-dist shard --out {url}"\n')

    def train(**more: object) -> str:
        given = {key.replace("__", "."): value for key, value in more.items()}
        return f"srae-dist train {recipe} " + " ".join(command_line({**values, **place, **given}))

    picture = root / "picture.png"
    found = f"--run {root}/run --shards '{url}' --out {root}/found.png --json {root}/found.json"
    return [
        train(train__steps=2),
        train(train__steps=3),
        train(train__steps=4, train__lr=0.5),
        train(train__steps=4, data__domains="photo,clay"),
        train(train__steps=4, data__split="tset"),
        train(train__steps=4, data__root=f"'{url.replace('sig=', 'sig=no&was=')}'"),
        train(data__roof=f"'{url}'"),
        f"srae-dist recipe show {recipe}",
        f"srae-dist recipe check {recipe} --no-probe --set data.image_size=64",
        f"srae-dist recipe show {recipe} --set '{url}'",
        f"srae-dist recipe show {recipe} '{url}'",
        f"srae-dist evaluate {root}/run '{url}' --only embedding --per-domain 8",
        f"srae-dist embed {root}/run '{url}' --per-domain 8",
        f"srae-dist classify {root}/run '{url}' --per-domain 8 --json {root}/classes.json",
        f"srae-dist neighbours {picture} --in anime {found}",
        f"srae-dist bench order '{url}' --steps 1 --global-batch 8",
        f"srae-dist shard --check '{url}' --json {root}/check.json",
        f"srae-dist batch-translate {root}/run '{url}' --to anime --out {root}/translated",
    ]


def test_nothing_secret_is_said_or_kept(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.translation.tiny import picture

    picture(0).save(tmp_path / "picture.png")
    done: list[Done] = []
    for command in commands(url, tmp_path):
        done.append(call(command, monkeypatch))
        assert not leaks(done[-1].out + done[-1].said), command
    assert [one.code for one in done[:2]] == [0, 0], "a run that is gone on with compares recipes"
    assert "resumes at step 2" in done[1].out
    assert [one.code for one in done[2:7]] == [2] * 5, [one.said for one in done[2:7]]
    (tmp_path / "tiny.toml").unlink()  # what the user wrote
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    for name in ("recipe.toml", "state.json", "log.jsonl", "report.json", "found.json"):
        assert any(path.name == name for path in kept), name
    assert not {path: found for path in kept if (found := leaks(path.read_bytes()))}


def test_an_error_that_ends_a_run_is_written_without_secrets(tmp_path: Path) -> None:
    from srae_dist.core.errors import UserError
    from srae_dist.runtime import exit_file

    with pytest.raises(UserError), exit_file.recording_errors(tmp_path, enabled=True):
        raise UserError("https://kilroy:opensesame@host/x?sig=0x5EC2E7 is away; wait.")
    text = (tmp_path / exit_file.NAME).read_text()
    assert not leaks(text) and "https://host/x is away; wait." in text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("a https://u:p@host/x?y=1#z, b", "a https://host/x, b"),
        ("(s3://bucket/x)", "(s3://bucket/x)"),
        ("https:/u:p@host/x", "https:/host/x"),
        ('"http://u@[::1]:80/x?k"', '"http://[::1]:80/x"'),
        ("http://u:p@[/x?k", "http://[/x"),
        ("no url: a@b/c?d", "no url: a@b/c?d"),
        ("hf://datasets/me/x@main/y", "hf://datasets/me/x@main/y"),
    ],
)
def test_what_is_left_of_urls_in_a_sentence(text: str, left: str) -> None:
    assert redacted(text) == left


def test_a_path_stays_a_path() -> None:
    assert without_secrets("a/b?c@d") == "a/b?c@d"
    assert without_secrets("C:\\a?b") == "C:\\a?b"
    assert masked("https://u:p@h/a?b#c") == without_secrets("https://u:p@h/a?b#c") == "https://h/a"
