from __future__ import annotations

from tests.unit.cli.desk import Desk


def test_what_is_removed_is_archived_first_and_can_still_be_read(desk: Desk) -> None:
    desk.run("a", "b", name="done")
    desk.run("a", name="waits", approval=True)
    archive = str(desk.folder / "old")
    told = desk.on_store("history", "done", "--json").json
    dry = desk.on_store("gc", "--older-than", "0s", "--archive", archive, "--dry-run")
    ended = desk.on_store("gc", "--older-than", "0s", "--archive", archive)

    assert "1 saga would be archived and removed." in dry.out
    assert ended.code == 0
    assert "1 saga archived and removed." in ended.out
    assert [head["saga_id"] for head in desk.on_store("list", "--json").json] == ["waits"]
    assert desk.on_store("history", "done").code == 2
    assert desk.type("history", "done", "--archive", archive, "--json").json == told
    assert desk.type("history", "waits", "--archive", archive).code == 2


def test_a_dry_run_makes_no_folder(desk: Desk) -> None:
    desk.run("a")
    archive = desk.folder / "old"
    desk.on_store("gc", "--older-than", "0s", "--archive", str(archive), "--dry-run")

    assert not archive.exists()


def test_an_archive_that_cannot_be_written_keeps_everything_in_the_store(desk: Desk) -> None:
    desk.run("a")
    path = desk.write("file", "a file is in the way")
    ended = desk.on_store("gc", "--older-than", "0s", "--archive", path, "--json")

    assert ended.code == 2
    assert "cannot be archived" in ended.json["error"]["message"]
    assert desk.on_store("show", "trip").code == 0


def test_what_cannot_be_read_is_named_and_stays(desk: Desk) -> None:
    desk.run("a", name="good")
    desk.run("a", name="bad")
    damage(desk)
    archive = str(desk.folder / "old")
    text = desk.on_store("gc", "--older-than", "0s", "--archive", archive)
    as_json = desk.on_store("gc", "--older-than", "0s", "--archive", archive, "--json")

    assert (text.code, as_json.code) == (0, 0)
    assert "1 saga archived and removed." in text.out
    assert "bad stays in the store" in text.err
    assert as_json.json["removed"] == []
    assert list(as_json.json["left"]) == ["bad"]


def damage(desk: Desk) -> None:
    """Flip a letter in the middle of one journal, in the file itself."""
    path = desk.folder / "sagas.db"
    wal = desk.folder / "sagas.db-wal"
    assert not wal.exists() or not wal.stat().st_size, "the log was taken over at the end"
    data = path.read_bytes()
    at = data.index(b'"saga_id":"bad"')
    path.write_bytes(data[:at] + data[at:].replace(b'"bad"', b'"bat"', 1))
