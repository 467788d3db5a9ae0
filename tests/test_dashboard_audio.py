"""What arms sound like is heard on the page of their run, and nothing else leaves that way."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from factories import record
from viewing import seen

from bench import locks, store
from bench.dashboard.data import audio
from bench.dashboard.data.folder import BrokenError, Folder
from bench.dashboard.take import NotNowError, Shelf
from bench.records import Arm, Record, to_json

pytest.importorskip("nicegui", reason="the extra dashboard is not installed")
from bench.dashboard import server
from bench.dashboard.language import ENGLISH, languages

pytestmark = pytest.mark.usefixtures("own_lock")

ROOT = Path(__file__).parents[1]
BASELINE, VARIANT = (f"{name * 8}/evaluation-{'0a' * 6}" for name in ("ab", "cd"))
SCRIPT = "<script>window.hacked=1</script>"
PERSIAN = "\u0645\u06cc\u200c\u0646\u0648\u0634\u0645"


def spoken(root: Path, exhibits: str, texts: list[str], samples: int = 160) -> Path:
    """Write what an evaluation leaves of so many texts, each longer than the one before."""
    folder = root / ".artefacts" / exhibits
    folder.mkdir(parents=True)
    for number, text in enumerate(texts):
        with wave.open(str(folder / f"{number:06}.wav"), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes(bytes(2 * samples * (number + 1)))
        (folder / f"{number:06}.txt").write_text(text, encoding="utf-8")
    return folder


def arm(exhibits: str | None) -> Arm:
    return dataclasses.replace(record().variant, exhibits=exhibits)


def pair(root: Path, baseline: str | None, variant: str | None) -> Record:
    """Write a pair whose arms name these folders, and return it."""
    made = record()
    made = dataclasses.replace(
        made,
        baseline=dataclasses.replace(made.baseline, exhibits=baseline),
        variant=arm(variant),
    )
    place = root / made.host / made.id
    place.mkdir(parents=True)
    (place / store.RECORD).write_text(to_json(made), encoding="utf-8")
    return made


# What is there.


def test_takes_are_the_wavs_of_an_evaluation_in_their_order(tmp_path: Path) -> None:
    folder = spoken(tmp_path, VARIANT, ["One.", "Two.", "Three."])
    for name in ("0.wav", "000003.wav.part", "000004.mp3", "\u0660" * 6 + ".wav", "notes"):
        (folder / name).touch()
    (folder / "000005.wav").mkdir()
    results = Folder.of(tmp_path)
    assert audio.takes(results, arm(VARIANT)) == ("000000", "000001", "000002")
    with wave.open(str(audio.wav(results, VARIANT, "000002")), "rb") as file:
        assert (file.getframerate(), file.getnframes()) == (16_000, 480)
    assert audio.said(results, arm(VARIANT), "000001") == "Two."


def test_an_arm_without_audio_or_whose_models_are_elsewhere_has_no_takes(tmp_path: Path) -> None:
    results = Folder.of(tmp_path)
    assert audio.takes(results, arm(None)) == ()
    assert audio.takes(results, arm(VARIANT)) == ()
    assert audio.said(results, arm(VARIANT), "000000") == ""


def test_a_text_is_shown_on_one_line_and_keeps_the_signs_that_part_letters(tmp_path: Path) -> None:
    texts = [f"{PERSIAN}\n{PERSIAN}", "a\u202eb\0c", "x" * 5_000]
    spoken(tmp_path, VARIANT, texts)
    results = Folder.of(tmp_path)
    assert audio.said(results, arm(VARIANT), "000000") == f"{PERSIAN} {PERSIAN}"
    assert audio.said(results, arm(VARIANT), "000001") == "a b c"
    assert audio.said(results, arm(VARIANT), "000002").endswith("xxx...")


# What somebody has prepared.


@pytest.mark.parametrize(
    "exhibits",
    [
        *("..", "../..", "/etc", f"../{VARIANT}", f"{VARIANT}/..", f"{VARIANT}/", f"{VARIANT}\n"),
        *(VARIANT.upper(), VARIANT.replace("cd", "\u0661\u0661"), "", "x\0y", SCRIPT),
    ],
)
def test_a_record_that_names_another_folder_has_no_audio(tmp_path: Path, exhibits: str) -> None:
    spoken(tmp_path / "results", VARIANT, ["One."])
    spoken(tmp_path, VARIANT, ["Secret."])
    results = Folder.of(tmp_path / "results")
    assert audio.takes(results, arm(exhibits)) == ()
    with pytest.raises(BrokenError, match="no audio"):
        audio.wav(results, exhibits, "000000")


@pytest.mark.parametrize("name", ["../000000", "0", "000000.wav", "\u0660" * 6, "", "000000\n"])
def test_no_file_is_handed_over_under_another_name_than_a_takes(tmp_path: Path, name: str) -> None:
    spoken(tmp_path, VARIANT, ["One."])
    with pytest.raises(BrokenError, match="no audio"):
        audio.wav(Folder.of(tmp_path), VARIANT, name)


def test_links_are_neither_listed_nor_followed(tmp_path: Path) -> None:
    root = tmp_path / "results"
    (tmp_path / "secret").write_text("precious")
    folder = spoken(root, VARIANT, ["One."])
    (root / "inside").write_text("of another page")
    (folder / "000001.wav").symlink_to(tmp_path / "secret")
    (folder / "000002.wav").symlink_to(root / "inside")
    (folder / "000002.txt").symlink_to(root / "inside")
    (folder / "000003.wav").symlink_to("000003.wav")
    results = Folder.of(root)
    assert audio.takes(results, arm(VARIANT)) == ("000000",)
    assert audio.said(results, arm(VARIANT), "000002") == ""
    for name in ("000001", "000002", "000003"):
        with pytest.raises(BrokenError):
            audio.wav(results, VARIANT, name)


@pytest.mark.parametrize("outside", [True, False])
def test_a_folder_that_is_a_link_is_not_entered(tmp_path: Path, outside: bool) -> None:
    root = tmp_path / "results"
    real = spoken(tmp_path if outside else root, VARIANT, ["One."])
    link = root / ".artefacts" / BASELINE
    link.parent.mkdir(parents=True)
    link.symlink_to(real)
    results = Folder.of(root)
    assert audio.takes(results, arm(BASELINE)) == ()
    with pytest.raises(BrokenError, match="leads out" if outside else "behind a link"):
        audio.wav(results, BASELINE, "000000")


def test_a_pipe_is_no_take_and_is_not_waited_for(tmp_path: Path) -> None:
    folder = spoken(tmp_path, VARIANT, ["One."])
    os.mkfifo(folder / "000001.wav")
    os.mkfifo(folder / "000001.txt")
    results = Folder.of(tmp_path)
    assert audio.takes(results, arm(VARIANT)) == ("000000",)
    assert audio.said(results, arm(VARIANT), "000001") == ""
    with pytest.raises(BrokenError, match="not a file"):
        audio.wav(results, VARIANT, "000001")


def test_no_audio_is_handed_over_while_windows_are_measured(tmp_path: Path) -> None:
    spoken(tmp_path, VARIANT, ["One."])
    ours = Shelf(seen(tmp_path))
    digest, evaluation = VARIANT.split("/")
    asked: Any = type("Asked", (), {})()
    asked.path_params = {"digest": digest, "evaluation": evaluation, "name": "000000"}
    answer = asyncio.run(server._audio(ours, asked))
    assert answer.headers["content-type"] == "audio/wav"
    with locks.host_lock("measuring", windows=True):
        ours.watcher.look()
        with pytest.raises(NotNowError, match="not_now"):
            asyncio.run(server._audio(ours, asked))


# The server.

SERVER = """
import sys
from pathlib import Path
from bench import locks
locks.SHARED_FOLDERS = (Path(sys.argv[1]),)
from bench.dashboard.__main__ import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server on a folder with a pair that can be heard."""
    folder = tmp_path_factory.mktemp("server")
    root, lock = folder / "results", folder / "lock"
    lock.mkdir(mode=0o1777)
    lock.chmod(0o1777)
    spoken(root, BASELINE, [f"Text {number}. {SCRIPT}" for number in range(audio.MOST + 3)])
    spoken(root, VARIANT, ["Text 0."])
    pair(root, BASELINE, VARIANT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # The library looks for pytest in the environment and would wait for a test of its own.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    words = [str(lock), str(root), "--port", str(port)]
    with subprocess.Popen([sys.executable, "-c", SERVER, *words], cwd=ROOT, env=environment) as own:
        address = f"http://127.0.0.1:{port}"
        try:
            end_s = time.monotonic() + 60
            while "made-up-host" not in text_of(address, "/take/pairs.csv"):
                assert own.poll() is None, "the server has ended"
                assert time.monotonic() < end_s, "the server does not see the pair"
                time.sleep(0.1)
            yield address
        finally:
            own.terminate()


def text_of(address: str, path: str) -> str:
    try:
        with urllib.request.urlopen(address + path, timeout=10) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError:
        raise
    except OSError:
        return ""


def test_a_wav_comes_whole_and_in_parts_as_a_player_asks(served: str) -> None:
    address = f"{served}/audio/{BASELINE}/000001.wav"
    with urllib.request.urlopen(address, timeout=10) as answer:
        assert answer.headers["content-type"] == "audio/wav"
        assert answer.headers["x-content-type-options"] == "nosniff"
        content = answer.read()
    with wave.open(io.BytesIO(content), "rb") as file:
        assert (file.getframerate(), file.getnframes()) == (16_000, 320)
    part = urllib.request.Request(address, headers={"Range": "bytes=4-7"})
    with urllib.request.urlopen(part, timeout=10) as answer:
        assert (answer.status, answer.read()) == (206, content[4:8])


@pytest.mark.parametrize(
    "path",
    [
        f"{BASELINE}/000099.wav",
        f"{BASELINE}/000001.txt",
        f"{BASELINE}/..%2f000001.wav",
        "..%2f..%2f..%2fetc/passwd/000001.wav",
        f"{BASELINE}/%2e%2e/000001.wav",
        f"{'ab' * 8}/evaluation-{'0b' * 6}/000001.wav",
    ],
)
def test_what_is_no_take_is_not_found(served: str, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{served}/audio/{path}", timeout=10)
    assert caught.value.code == 404


def test_the_page_of_a_run_plays_both_arms_side_by_side(served: str) -> None:
    page = text_of(served, "/run")
    for of, exhibits in (("baseline", BASELINE), ("variant", VARIANT)):
        assert f"/audio/{exhibits}/000000.wav" in page
        assert f"{of}-000000.wav" in page  # the name to keep it under
    assert f"/audio/{VARIANT}/000001.wav" not in page
    assert f"/audio/{BASELINE}/{audio.MOST - 1:06}.wav" in page
    assert f"/audio/{BASELINE}/{audio.MOST:06}.wav" not in page
    said = languages()[ENGLISH]("audio_hint", shown=audio.MOST, count=audio.MOST + 3)
    assert said in page
    assert "window.hacked" in page
    assert SCRIPT not in page
    # Nothing is fetched that nobody plays.
    assert len(re.findall(r"preload\W+none", page)) == audio.MOST + 1
