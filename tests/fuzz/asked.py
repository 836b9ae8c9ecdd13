"""The door for people: answers about a saga, addresses of stores, words on the command line."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import shutil
import tempfile
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

from fsm_saga.cli.app import main
from fsm_saga.errors import FsmSagaError, InvariantBrokenError, StoreError
from fsm_saga.plan.model import Plan
from fsm_saga.service.answers import ANSWER_KINDS, Answer
from fsm_saga.service.engine import Engine
from fsm_saga.stores.opening import open_store, sqlite_path
from tests.fuzz.mutate import mutated
from tests.fuzz.odd_values import built, odd_recipe
from tests.fuzz.sagas import STORIES, TOOLS
from tests.fuzz.tally import BrokenPromiseError, Tally, must
from tests.fuzz.target import Target
from tests.fuzz.tree import Pairs, Tree, places, put, tree_of, written
from tests.fuzz.words import ODD_TEXTS, REFERENCE_FORMS

REST_S_MAX = 10.0
EXIT_CODES = frozenset({0, 1, 2, 3, 75})
TERMINAL = {chr(code) for code in (*range(32), *range(0x7F, 0xA0))} - {"\n"}
TOOLS_FILE = Path(__file__).with_name("sagas.py")


class Answers(Target):
    """What a person decides, as it comes in by a program or from the store."""

    name = "answers"
    about = "mutated answers to sagas in every kind of rest, through the engine"
    share = 0.05

    def __init__(self) -> None:
        self._loop = asyncio.Runner()
        self._left = contextlib.AsyncExitStack()
        opened = Engine.open("memory://", tools=TOOLS)
        self._engine = self._loop.run(self._left.enter_async_context(opened))
        self._number = 0

    def make(self, draw: Random) -> tuple[str, str, Tree]:
        story = draw.choice(tuple(STORIES))
        kind = draw.choice([*ANSWER_KINDS, *ANSWER_KINDS, "", "delete", "settle"])
        body = Pairs(
            [
                ["step_id", draw.choice([1, 2, 3, "1", "2", "step_1", None])],
                ["by", "Ada"],
                ["note", "n"],
            ]
        )
        if draw.random() < 0.6 or kind in ("output", "calls", "amend"):
            body.append(["value", tree_of(draw.choice(_VALUES))])
        if draw.random() < 0.5:
            body = mutated(body, draw, lambda: tree_of(_VALUES[0]))
        if draw.random() < 0.1 and (found := places(body)):
            put(draw.choice(found), odd_recipe(draw, is_harmless=True))
        return story, kind, body

    def check(self, case: tuple[str, str, Tree], seen: Tally) -> None:
        verdict = self._loop.run(self._answered(case, seen))
        seen.count(verdict)
        seen.verdict(verdict)

    async def _answered(self, case: tuple[str, str, Tree], seen: Tally) -> str:
        story, kind, tree = case
        self._number += 1
        saga_id = f"{story}-{self._number}"
        plan = Plan.of({**STORIES[story], "task_id": saga_id})
        before = await self._engine.run(plan)
        body = built(tree)
        try:
            if not isinstance(body, dict):
                return "no object"
            answer = Answer.from_json(kind, body)
            with seen.timed(0):
                await self._engine.answer(saga_id, answer)
        except InvariantBrokenError:
            raise
        except FsmSagaError as error:
            after = await self._engine.get(saga_id)
            must(after.as_json() == before.as_json(), "what is refused changes nothing", error)
            must(error.code in str(error), "a refusal ends with its code")
            return error.code
        async with asyncio.timeout(REST_S_MAX):
            view = await self._engine.wait(saga_id)
        must(json.dumps(view.as_json()).encode(), "a saga can be shown")
        return "accepted"

    def close(self) -> None:
        self._loop.run(self._left.aclose())
        self._loop.close()


_CALLS = [{"tool": "give_back", "params": {"id": "$output.step_1.id"}}]
_VALUES: tuple[Any, ...] = (
    {"id": "id-x"},
    _CALLS,
    {"calls": _CALLS},
    json.dumps(_CALLS),
    [{"step_id": 9, "tool": "look", "params": {"what": "x"}}],
    {"step_id": 9, "tool": "look", "params": {"what": "$output.step_1.id"}},
    '[{"step_id": 9, "tool": "look", "params": {"what": "x"}}]',
    None,
    "",
    [],
    7,
)


class StoreUrls(Target):
    """Addresses of stores. Paths stay in a folder of the run's own."""

    name = "urls"
    about = "mutated store URLs, opened for reading and for writing in a folder of their own"
    share = 0.02

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="fuzz-")
        self._loop = asyncio.Runner()

    def make(self, draw: Random) -> tuple[str, bool]:
        scheme = draw.choice(["sqlite", "sqlite", "sqlite", "memory", "etcd", "", "SQLITE", "file"])
        parts = ["a.db", "b", ".", "%2e%2e", "?mode=memory", "#x", ":memory:", *ODD_TEXTS]
        path = "/".join(draw.choices(parts, k=draw.randint(0, 3)))
        url = f"{scheme}{draw.choice(['://', ':///', ':///', ':', ''])}{path}"
        for _ in range(draw.randrange(3)):
            at = draw.randrange(len(url) + 1)
            url = url[:at] + draw.choice(ODD_TEXTS) + url[at + draw.randrange(2) :]
        return url, draw.random() < 0.2

    def check(self, case: tuple[str, bool], seen: Tally) -> None:
        url, is_written = case
        try:
            path = sqlite_path(url)
            is_inside = not os.path.isabs(path) and ".." not in path
        except StoreError:
            is_inside = True  # refused, so nothing is made
        verdict = self._loop.run(self._opened(url, is_written=is_written and is_inside, seen=seen))
        seen.count(verdict)

    async def _opened(self, url: str, *, is_written: bool, seen: Tally) -> str:
        try:
            with contextlib.chdir(self._folder), seen.timed(0):
                async with open_store(url, mode="write" if is_written else "read") as store:
                    await store.heads(limit=1)
        except StoreError as error:
            must(str(error).endswith(f"[{error.code}]"), "a refusal ends with its code", error)
            return error.code
        return "accepted"

    def close(self) -> None:
        self._loop.close()
        shutil.rmtree(self._folder, ignore_errors=True)


class Words(Target):
    """What is typed: every command with words that fit, nearly fit, or do not."""

    name = "words"
    about = "words on the command line, files for --calls and --output included"
    share = 0.01

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
        self._store = f"sqlite:///{self._folder / 'kept.db'}"
        asyncio.run(self._prepared())

    async def _prepared(self) -> None:
        async with Engine.open(self._store, tools=TOOLS) as engine:
            for story in STORIES.values():
                await engine.run(Plan.of(story))

    def make(self, draw: Random) -> tuple[tuple[str, ...], str]:
        command = draw.choice(tuple(_COMMANDS))
        words = [command]
        for word in _COMMANDS[command]:
            if draw.random() < 0.85:
                words += [_filled(each, draw) for each in word.split(" ")]
        for _ in range(draw.choice([0, 0, 1, 2])):
            at = draw.randrange(len(words) + 1)
            words.insert(at, draw.choice([*ODD_TEXTS, *_OPTIONS]))
        text = written(
            mutated(tree_of(draw.choice(_FILES)), draw, lambda: tree_of(_FILES[0])), draw
        )
        return tuple(word.replace("\0", "") for word in words), text

    def check(self, case: tuple[tuple[str, ...], str], seen: Tally) -> None:
        words, text = case
        work = self._folder / "work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        shutil.copy(self._folder / "kept.db", work / "kept.db")
        (work / "file.json").write_bytes(text.encode("utf-8", "surrogatepass"))
        code, out, err = _typed(words, work, seen)
        must(code in EXIT_CODES, "an exit code is documented", (code, err))
        must("Traceback" not in err, "no stack trace is shown", err)
        steering = TERMINAL & set(out + err)
        must(not steering or words[0] == "diagram", "no terminal is steered", steering)
        options = words[: words.index("--")] if "--" in words else words
        if "--json" in options and "--help" not in options and code in (0, 1, 2, 3):
            _check_document(out, err)
        command = words[0] if words[0] in _COMMANDS else "no command"
        seen.count(f"{command} {code}")
        seen.verdict(f"{command} {code}")

    def close(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def _typed(words: tuple[str, ...], folder: Path, seen: Tally) -> tuple[int, str, str]:
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="replace")
    err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="replace")
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch("sys.stdin", io.TextIOWrapper(io.BytesIO(b"{}"))),
        mock.patch.dict(os.environ, {"FSM_SAGA_STORE": "sqlite:///kept.db"}),
        seen.timed(0),
    ):
        code = main(words)
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode("utf-8", "replace"))
    return code, texts[0], texts[1]


def _check_document(out: str, err: str) -> None:
    try:
        json.loads(out)
    except ValueError as error:
        raise BrokenPromiseError("--json prints one document", f"{out!r} {err!r}") from error


_COMMANDS: dict[str, tuple[str, ...]] = {
    "resolve": ("ID", "--step STEP", "--by TEXT", "--note TEXT", "ANSWER", "TOOLS", "JSON"),
    "approve": ("ID", "--step STEP", "--by TEXT", "--note TEXT", "--digest TEXT", "TOOLS", "JSON"),
    "reject": ("ID", "--step STEP", "--by TEXT", "TOOLS", "JSON"),
    "cancel": ("ID", "--by TEXT", "--note TEXT", "TOOLS", "JSON"),
    "amend": ("ID", "file.json", "TOOLS", "JSON"),
    "run": ("file.json", "TOOLS", "--allow TEXT", "JSON"),
    "verify": ("file.json", "TOOLS", "JSON"),
    "show": ("ID", "--at NUMBER", "JSON"),
    "history": ("ID", "JSON"),
    "undo": ("ID", "TOOLS", "JSON"),
    "gc": ("--older-than TEXT", "JSON"),
    "list": ("JSON",),
    "resume": ("TOOLS", "JSON"),
    "diagram": ("file.json", "--format FORMAT"),
    "schema": (),
}
_OPTIONS = (
    "--json",
    "--help",
    "--",
    "-",
    "--retry",
    "--settled",
    "--at",
    "--store",
    "--step",
    "-x",
)
_FILES: tuple[Any, ...] = (*STORIES.values(), _CALLS, {"calls": _CALLS}, _VALUES[4])


def _filled(word: str, draw: Random) -> str:
    odd = draw.choice(ODD_TEXTS)
    likely: dict[str, list[str]] = {
        "ID": [*STORIES, *STORIES, "missing", odd],
        "STEP": ["1", "2", "3", "step_1", odd],
        "TEXT": ["Ada", "a b", "0s", "30d", "take", odd],
        "NUMBER": ["1", "5", "0", "-1", "99999999999999999999", odd],
        "ANSWER": [
            "--retry",
            "--settled",
            "--output={}",
            f"--output={odd}",
            f'--output={{"id": "{REFERENCE_FORMS[0]}"}}',
            "--output=1e999",
            "--output=[[[[",
            "--calls=file.json",
            "--calls=-",
            "--calls=missing.json",
        ],
        "TOOLS": [f"--tools={TOOLS_FILE}"] * 4 + ["--tools=missing.py", "--tools="],
        "JSON": ["--json"],
        "FORMAT": ["dot", "mermaid", "text", odd],
    }
    return draw.choice(likely[word]) if word in likely else word
