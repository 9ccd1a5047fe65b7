"""Downloads from a real server on localhost: resumed, refused, reported, and never a half file in the cache."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from misbehaving_server import (
    Server,
    breaks_off,
    delayed,
    fails,
    ignores_range,
    redirects,
    serves,
    serving,
    stalls,
    whole,
)

from mindsci.errors import InputError, StorageError
from mindsci.hub import DatasetCard, DownloadError, Settings, local_files

CONTENT = random.Random(0).randbytes(1_200_000)
HALF = 600_000


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(CONTENT) as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", timeout=5.0, attempts=3, pause=0.001)


def card_of(folder: Path, url: str | None, **changes: Any) -> DatasetCard:
    file = {"name": "data.bin", "bytes": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest()} | changes
    file |= {"url": f"{url}/data.bin"} if url else {}
    return DatasetCard(
        name="sample",
        title="Sample",
        licence="CC0-1.0",
        source="made here",
        citation="none",
        reader="builtins:dict",
        units={},
        shapes={},
        files=[file],  # type: ignore[list-item]
        splits={"train": {"files": ["data.bin"], "samples": 1}},  # type: ignore[dict-item]
        folder=folder,
    )


def cached(settings: Settings) -> list[str]:
    """Names in the cache, but for the lock."""
    folder = settings.home / "datasets" / "sample"
    return sorted(path.name for path in folder.glob("*") if path.suffix != ".lock")


def assert_refused(settings: Settings, card: DatasetCard, *said: str, held: int | None = None) -> None:
    """The download fails with a message that says all of `said`, and leaves at most a part to go on from."""
    with pytest.raises(DownloadError) as raised:
        local_files(card, settings)
    for words in said:
        assert words in str(raised.value)
    assert cached(settings) == ([] if held is None else ["data.bin.part"])
    if held is not None:
        assert (settings.home / "datasets/sample/data.bin.part").stat().st_size == held


def test_file_is_fetched_once_and_then_read_from_the_cache(server: Server, settings: Settings, tmp_path: Path) -> None:
    for _ in range(2):
        path = local_files(card_of(tmp_path, server.url), settings)["data.bin"]
        assert path.read_bytes() == CONTENT
    assert server.ranges == [None]
    assert cached(settings) == ["data.bin"]


def test_broken_transfer_goes_on_where_it_ended(server: Server, settings: Settings, tmp_path: Path) -> None:
    server.plan = [breaks_off(HALF), breaks_off(HALF + 100_000), whole]
    path = local_files(card_of(tmp_path, server.url), settings)["data.bin"]
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={HALF}-", f"bytes={HALF + 100_000}-"]


def test_a_later_command_goes_on_where_an_earlier_one_ended(server: Server, settings: Settings, tmp_path: Path) -> None:
    card = card_of(tmp_path, server.url)
    server.plan = [breaks_off(HALF), fails(503)]
    assert_refused(settings, card, "503", "3 attempts", f"{HALF} of {len(CONTENT)} bytes", held=HALF)
    server.plan, server.ranges = [whole], []
    assert local_files(card, settings)["data.bin"].read_bytes() == CONTENT
    assert server.ranges == [f"bytes={HALF}-"]
    assert cached(settings) == ["data.bin"]


def test_a_server_without_ranges_is_read_from_the_start(server: Server, settings: Settings, tmp_path: Path) -> None:
    server.plan = [ignores_range(HALF), ignores_range()]
    assert local_files(card_of(tmp_path, server.url), settings)["data.bin"].read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={HALF}-"]


def test_a_server_that_always_breaks_at_the_same_place_is_given_up(
    server: Server, settings: Settings, tmp_path: Path
) -> None:
    server.plan = [ignores_range(HALF)]
    assert_refused(settings, card_of(tmp_path, server.url), "gave up after 3 attempts", "MINDSCI_MIRROR", held=HALF)
    assert len(server.ranges) == 4  # the first one got further than none


def test_a_part_left_of_another_file_is_thrown_away(server: Server, settings: Settings, tmp_path: Path) -> None:
    folder = settings.home / "datasets" / "sample"
    folder.mkdir(parents=True)
    (folder / "data.bin.part").write_bytes(b"x" * HALF)
    assert local_files(card_of(tmp_path, server.url), settings)["data.bin"].read_bytes() == CONTENT
    assert server.ranges == [f"bytes={HALF}-", None]


def test_a_part_longer_than_the_file_is_thrown_away(server: Server, settings: Settings, tmp_path: Path) -> None:
    folder = settings.home / "datasets" / "sample"
    folder.mkdir(parents=True)
    (folder / "data.bin.part").write_bytes(b"x" * (len(CONTENT) + 1))
    assert local_files(card_of(tmp_path, server.url), settings)["data.bin"].read_bytes() == CONTENT
    assert server.ranges == [None]


def test_a_silent_server_is_given_up_with_what_it_sent_kept(server: Server, settings: Settings, tmp_path: Path) -> None:
    impatient = Settings(home=settings.home, timeout=0.1, attempts=1, pause=0.001)
    server.plan = [stalls(HALF)]
    assert_refused(impatient, card_of(tmp_path, server.url), "timed out", held=HALF)


def test_wrong_content_is_refused_with_both_checksums(server: Server, settings: Settings, tmp_path: Path) -> None:
    wrong = bytes(len(CONTENT))
    server.plan = [serves(wrong)]
    card = card_of(tmp_path, server.url)
    assert_refused(
        settings, card, server.url, card.files[0].sha256, hashlib.sha256(wrong).hexdigest(), "nothing was kept"
    )


def test_wrong_size_is_refused_before_it_is_fetched(server: Server, settings: Settings, tmp_path: Path) -> None:
    server.plan = [serves(CONTENT + b"more")]
    card = card_of(tmp_path, server.url)
    assert_refused(settings, card, f"has {len(CONTENT) + 4} bytes, expected {len(CONTENT)}")


def test_an_endless_answer_is_cut_off(server: Server, settings: Settings, tmp_path: Path) -> None:
    server.plan = [serves(CONTENT + bytes(4_000_000), length=False)]
    card = card_of(tmp_path, server.url)
    with pytest.raises(DownloadError, match=f"more than the {len(CONTENT)} bytes expected"):
        local_files(card, settings)
    assert "data.bin" not in cached(settings)


def test_missing_file_is_reported_at_once(server: Server, settings: Settings, tmp_path: Path) -> None:
    server.plan = [fails(404)]
    assert_refused(settings, card_of(tmp_path, server.url), f"{server.url}/data.bin", "404", "MINDSCI_MIRROR")
    assert len(server.ranges) == 1


def test_a_server_in_trouble_is_asked_again(server: Server, settings: Settings, tmp_path: Path) -> None:
    server.plan = [fails(500), fails(503), whole]
    assert local_files(card_of(tmp_path, server.url), settings)["data.bin"].read_bytes() == CONTENT


def test_a_server_that_stays_in_trouble_is_reported(server: Server, settings: Settings, tmp_path: Path) -> None:
    server.plan = [fails(500)]
    assert_refused(settings, card_of(tmp_path, server.url), "500", "gave up after 3 attempts")
    assert len(server.ranges) == 3


def test_refused_connection_is_reported(server: Server, settings: Settings, tmp_path: Path) -> None:
    server.server_close()
    assert_refused(settings, card_of(tmp_path, server.url), server.url, "Connection refused", "0 of")


@pytest.mark.parametrize(
    ("target", "said"), [("file:///etc/hostname", "is not allowed"), ("ftp://127.0.0.1/data.bin", "which is refused")]
)
def test_redirect_away_from_the_web_is_refused(
    server: Server, settings: Settings, tmp_path: Path, target: str, said: str
) -> None:
    server.plan = [redirects(target)]
    assert_refused(settings, card_of(tmp_path, server.url), target, said)


def test_redirect_on_the_web_is_followed_with_the_range(server: Server, settings: Settings, tmp_path: Path) -> None:
    server.plan = [breaks_off(HALF), redirects("/elsewhere.bin"), whole]
    assert local_files(card_of(tmp_path, server.url), settings)["data.bin"].read_bytes() == CONTENT
    assert server.paths[-1] == "/elsewhere.bin"
    assert server.ranges[-1] == f"bytes={HALF}-"


def test_damaged_cached_file_is_fetched_again(server: Server, settings: Settings, tmp_path: Path) -> None:
    card = card_of(tmp_path, server.url)
    path = local_files(card, settings)["data.bin"]
    path.write_bytes(CONTENT[:-1] + b"?")
    assert local_files(card, settings)["data.bin"].read_bytes() == CONTENT


def test_mirror_folder_comes_before_the_url(server: Server, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "mirror/somewhere").mkdir(parents=True)
    (tmp_path / "mirror/somewhere/copy.bin").write_bytes(CONTENT)
    mirrored = Settings(home=settings.home, mirror=str(tmp_path / "mirror"), offline=True)
    card = card_of(tmp_path, server.url, mirror="somewhere/copy.bin")
    assert local_files(card, mirrored)["data.bin"].read_bytes() == CONTENT
    assert server.ranges == []


def test_damaged_file_of_a_mirror_folder_is_refused(server: Server, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "datasets/sample").mkdir(parents=True)
    (tmp_path / "datasets/sample/data.bin").write_bytes(CONTENT[:HALF])
    mirrored = Settings(home=settings.home, mirror=str(tmp_path))
    card = card_of(tmp_path / "card", server.url)
    assert_refused(mirrored, card, str(tmp_path / "datasets/sample/data.bin"), f"has {HALF} bytes")


def test_mirror_url_comes_before_the_url_and_may_lack_the_file(
    server: Server, settings: Settings, tmp_path: Path
) -> None:
    mirrored = Settings(home=settings.home, mirror=f"{server.url}/mirror/", pause=0.001)
    server.plan = [fails(404), whole]
    assert local_files(card_of(tmp_path, server.url), mirrored)["data.bin"].read_bytes() == CONTENT
    assert server.paths == ["/mirror/datasets/sample/data.bin", "/data.bin"]


def test_file_of_a_mirror_url_is_enough(server: Server, settings: Settings, tmp_path: Path) -> None:
    mirrored = Settings(home=settings.home, mirror=server.url)
    card = card_of(tmp_path, "http://127.0.0.1:1", mirror="some where/copy.bin")
    assert local_files(card, mirrored)["data.bin"].read_bytes() == CONTENT
    assert server.paths == ["/some%20where/copy.bin"]


@pytest.mark.parametrize(
    ("mirror", "said"), [("file:///data", "neither a folder nor an http"), ("/no/such/folder", "is not a folder")]
)
def test_impossible_mirror_is_reported(settings: Settings, tmp_path: Path, mirror: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        local_files(card_of(tmp_path, "http://127.0.0.1:1"), Settings(home=settings.home, mirror=mirror))


def test_file_without_any_source_is_reported(settings: Settings, tmp_path: Path) -> None:
    assert_refused(settings, card_of(tmp_path, None), "has no url and MINDSCI_MIRROR is not set")


def test_offline_refuses_the_network_and_still_reads_the_cache(
    server: Server, settings: Settings, tmp_path: Path
) -> None:
    card = card_of(tmp_path, server.url)
    offline = Settings(home=settings.home, offline=True)
    assert_refused(offline, card, "MINDSCI_OFFLINE forbids fetching", server.url)
    assert server.ranges == []
    local_files(card, settings)
    assert local_files(card, offline)["data.bin"].read_bytes() == CONTENT


def test_file_beside_its_card_is_used_in_place_and_checked(settings: Settings, tmp_path: Path) -> None:
    card = card_of(tmp_path, None)
    (tmp_path / "data.bin").write_bytes(CONTENT)
    assert local_files(card, settings)["data.bin"] == tmp_path / "data.bin"
    (tmp_path / "data.bin").write_bytes(CONTENT[:-1] + b"?")
    with pytest.raises(StorageError, match=r"has sha256 .* install mindsci again"):
        local_files(card, settings)


def test_cache_under_a_file_is_reported_with_the_fix(server: Server, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where the cache folder would be")
    with pytest.raises(StorageError, match="choose another folder"):
        local_files(card_of(tmp_path, server.url), settings)


def test_read_only_cache_is_reported_with_the_fix(server: Server, settings: Settings, tmp_path: Path) -> None:
    folder = settings.home / "datasets" / "sample"
    folder.mkdir(parents=True)
    folder.chmod(0o555)
    card = card_of(tmp_path, server.url)
    for parent in (tmp_path, *tmp_path.parents[:3]):  # pytest's own folders are closed to other users
        if "pytest" in str(parent):
            parent.chmod(0o755)
    superuser = os.geteuid() == 0
    if superuser:  # permissions do not hold for the superuser
        os.seteuid(65534)
    try:
        with pytest.raises(StorageError, match="permission is denied; choose a folder"):
            local_files(card, settings)
    finally:
        if superuser:
            os.seteuid(0)
        folder.chmod(0o755)
    assert cached(settings) == []


FETCH = """
import sys
from pathlib import Path
from mindsci.hub import DatasetCard, local_files
print(local_files(DatasetCard.read(sys.argv[1]))["data.bin"])
"""


def test_two_processes_fetch_a_file_once(server: Server, tmp_path: Path, repository: Path) -> None:
    text = CARD.format(url=server.url, size=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())
    (tmp_path / "card.toml").write_text(text)
    server.plan = [delayed(1.0)]
    environment = os.environ | {"MINDSCI_HOME": str(tmp_path / "home"), "PYTHONPATH": str(repository)}
    command = [sys.executable, "-c", FETCH, str(tmp_path / "card.toml")]
    both = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    paths = {process.communicate(timeout=60)[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    (path,) = paths
    assert Path(path).read_bytes() == CONTENT
    assert server.ranges == [None]


CARD = """
name = "sample"
title = "Sample"
licence = "CC0-1.0"
source = "made here"
citation = "none"
reader = "builtins:dict"
units = {{}}
shapes = {{}}
splits = {{train = {{files = ["data.bin"], samples = 1}}}}

[[files]]
name = "data.bin"
url = "{url}/data.bin"
bytes = {size}
sha256 = "{sha256}"
"""
