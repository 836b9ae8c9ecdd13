"""What a fence promises, on every kind of database that it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from fsm_saga.errors import (
    CallFencedError,
    CallRefusedError,
    OutcomeUnknown,
    ParamsChangedError,
    ToolsError,
)
from tests.support.fence_shops import (
    ASYNC_BACKENDS,
    BACKENDS,
    DAY_S,
    INSERT,
    NOTHING,
    NOW,
    BlockingShop,
    Shop,
    ctx,
    open_shop,
)
from tests.support.postgres import open_postgres

RETENTION_S = 7 * DAY_S


class SoldOutError(Exception):
    """A refusal of the shop's own."""


@pytest.fixture(scope="module")
def postgres() -> Iterator[Callable[[], str]]:
    """Makes new databases on one server."""
    with open_postgres() as url:
        admin = sa.create_engine(url, isolation_level="AUTOCOMMIT")

        def create() -> str:
            name = f"shop_{uuid4().hex}"
            with admin.connect() as db:
                db.execute(sa.text(f"CREATE DATABASE {name}"))
            return url.replace("/postgres?", f"/{name}?")

        yield create
        admin.dispose()


@pytest.fixture(params=[*BACKENDS, *ASYNC_BACKENDS])
def shop(
    request: pytest.FixtureRequest, tmp_path: Path, postgres: Callable[[], str]
) -> Iterator[Shop]:
    with open_shop(request.param, tmp_path, postgres=postgres, retention_s=RETENTION_S) as opened:
        yield opened


def fails_with(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def test_a_repeated_call_gets_the_first_answer_and_has_no_second_effect(shop: Shop) -> None:
    first = shop.order("r1")
    again = shop.order("r1", attempt=2)

    assert first == again == {"item": "tea"}
    assert shop.count() == 1


def test_two_calls_are_two_effects(shop: Shop) -> None:
    shop.order("r1")
    shop.order("r2")

    assert shop.count() == 2


def test_a_repeat_with_other_params_is_refused_and_the_first_effect_stands(shop: Shop) -> None:
    shop.order("r1", "tea")

    with pytest.raises(ParamsChangedError, match="other params"):
        shop.order("r1", "gold")

    assert shop.count() == 1
    assert shop.order("r1", "tea") == {"item": "tea"}


def test_a_refusal_takes_back_the_effect_and_stays_a_refusal(shop: Shop) -> None:
    with pytest.raises(SoldOutError):
        shop.order("r1", meanwhile=fails_with(SoldOutError("no tea left")))
    assert shop.count() == 0

    with pytest.raises(CallRefusedError, match="no tea left"):
        shop.order("r1")

    assert shop.count() == 0
    assert shop.look_up("r1").status == "refused"


def test_a_refusal_of_the_shop_is_repeated_word_for_word(shop: Shop) -> None:
    refusal = CallRefusedError("the shop is closed on Sundays")
    for _ in range(2):
        with pytest.raises(CallRefusedError) as raised:
            shop.order("r1", meanwhile=fails_with(refusal))
        assert raised.value.message == "the shop is closed on Sundays"


@pytest.mark.parametrize("error", [TimeoutError("slow"), OutcomeUnknown("who knows")])
def test_doubt_takes_back_the_effect_and_is_not_remembered(shop: Shop, error: Exception) -> None:
    with pytest.raises(OutcomeUnknown):
        shop.order("r1", meanwhile=fails_with(error))
    assert shop.count() == 0

    assert shop.order("r1", attempt=2) == {"item": "tea"}
    assert shop.count() == 1


def test_an_interruption_takes_back_the_effect_and_is_not_remembered(shop: Shop) -> None:
    with pytest.raises(KeyboardInterrupt):
        shop.order("r1", meanwhile=fails_with(KeyboardInterrupt()))
    assert shop.count() == 0

    shop.order("r1")
    assert shop.count() == 1


def test_an_undo_takes_the_effect_back_once_however_often_it_comes(shop: Shop) -> None:
    shop.order("r1", "tea")
    shop.order("r2", "milk")

    answers = [shop.cancel("u1", "r1"), shop.cancel("u1", "r1"), shop.cancel("u2", "r1")]

    assert answers == [{"cancelled": True}] * 3
    assert shop.count() == 1
    shop.order("r3", "tea")
    shop.cancel("u1", "r1")
    shop.cancel("u3", "r1")
    assert shop.count() == 2


def test_an_undo_before_its_action_succeeds_and_every_late_copy_is_refused(shop: Shop) -> None:
    assert shop.cancel("u1", "r1") == NOTHING

    for attempt in (1, 2, 3):
        with pytest.raises(CallFencedError):
            shop.order("r1", attempt=attempt)
    assert shop.count() == 0
    assert shop.cancel("u1", "r1") == NOTHING
    assert shop.cancel("u2", "r1") == NOTHING


def test_a_copy_of_a_call_that_was_undone_is_refused(shop: Shop) -> None:
    shop.order("r1")
    shop.cancel("u1", "r1")

    for _ in range(2):
        with pytest.raises(CallFencedError):
            shop.order("r1")
    assert shop.count() == 0


def test_the_undo_of_a_refused_call_has_nothing_to_undo_and_it_stays_refused(shop: Shop) -> None:
    with pytest.raises(SoldOutError):
        shop.order("r1", meanwhile=fails_with(SoldOutError("no tea left")))

    assert shop.cancel("u1", "r1") == NOTHING

    with pytest.raises(CallRefusedError):
        shop.order("r1")


def test_an_undo_that_is_refused_leaves_the_effect_and_another_undo_may_succeed(
    shop: Shop,
) -> None:
    shop.order("r1")

    with pytest.raises(SoldOutError):
        shop.cancel("u1", "r1", meanwhile=fails_with(SoldOutError("not today")))
    assert shop.count() == 1
    with pytest.raises(CallRefusedError, match="not today"):
        shop.cancel("u1", "r1")
    assert shop.count() == 1
    assert shop.look_up("r1").status == "done"

    assert shop.cancel("u2", "r1") == {"cancelled": True}
    assert shop.count() == 0


def test_an_undo_that_ends_in_doubt_leaves_the_effect_and_may_be_sent_again(shop: Shop) -> None:
    shop.order("r1")

    with pytest.raises(OutcomeUnknown):
        shop.cancel("u1", "r1", meanwhile=fails_with(TimeoutError()))
    assert shop.count() == 1

    assert shop.cancel("u1", "r1") == {"cancelled": True}


def test_an_undo_of_an_undo_is_refused_for_good(shop: Shop) -> None:
    shop.order("r1")
    shop.cancel("u1", "r1")

    for _ in range(2):
        with pytest.raises(CallRefusedError, match="itself an undo"):
            shop.cancel("u2", "u1")


def test_an_id_of_an_undo_is_none_for_an_order(shop: Shop) -> None:
    shop.cancel("u1", "r1")

    with pytest.raises(CallRefusedError, match="belongs to an undo"):
        shop.order("u1")
    assert shop.count() == 0


def test_the_status_of_a_call_is_what_became_of_it(shop: Shop) -> None:
    shop.order("r1")
    assert shop.look_up("r1").model_dump() == {"status": "done", "output": {"item": "tea"}}

    shop.cancel("u1", "r1")
    assert shop.look_up("r1").model_dump() == {"status": "absent", "output": None}


def test_a_status_of_absent_keeps_the_call_from_coming_late(shop: Shop) -> None:
    assert shop.look_up("r1").status == "absent"
    assert shop.look_up("r1").status == "absent"

    with pytest.raises(CallFencedError):
        shop.order("r1")
    assert shop.count() == 0


def test_a_look_that_does_not_fence_changes_nothing(shop: Shop) -> None:
    assert shop.look_up("r1", is_fencing=False).status == "absent"

    assert shop.order("r1") == {"item": "tea"}


def test_a_call_after_its_time_is_refused_for_good(shop: Shop) -> None:
    def run() -> None:
        pytest.fail("it was begun")

    with pytest.raises(CallRefusedError, match="time was over"):
        shop.order("r1", not_after=NOW - 1, meanwhile=run)

    shop.time.now = NOW - 10  # a clock that goes back does not bring it back
    with pytest.raises(CallRefusedError, match="time was over"):
        shop.order("r1", not_after=NOW - 1)
    assert shop.count() == 0


def test_a_call_whose_time_runs_out_before_the_commit_is_taken_back(shop: Shop) -> None:
    def dawdle() -> None:
        shop.time.now = NOW + 10

    with pytest.raises(CallRefusedError, match="time was over"):
        shop.order("r1", not_after=NOW + 5, meanwhile=dawdle)

    assert shop.count() == 0
    assert shop.look_up("r1").status == "refused"


def test_a_copy_after_the_time_of_a_call_that_was_done_gets_its_answer(shop: Shop) -> None:
    shop.order("r1", not_after=NOW + 5)
    shop.time.now = NOW + 10

    assert shop.order("r1", not_after=NOW + 5) == {"item": "tea"}


def test_a_purge_removes_only_what_is_older_than_the_retention(shop: Shop) -> None:
    shop.order("r1")
    shop.cancel("u2", "r2")
    shop.time.now += RETENTION_S  # within the margin for clocks that differ
    assert shop.purge() == 0

    shop.time.now += DAY_S
    shop.order("r3")
    assert shop.purge(older_than_s=RETENTION_S + 2 * DAY_S) == 0
    assert shop.purge() == 3
    assert shop.order("r3") == {"item": "tea"}
    assert shop.count() == 2


def test_a_tombstone_that_refused_a_late_copy_is_kept_for_the_next(shop: Shop) -> None:
    shop.cancel("u1", "r1")
    shop.time.now += RETENTION_S
    with pytest.raises(CallFencedError):
        shop.order("r1")

    shop.time.now += DAY_S  # the tombstone is old, but somebody was here yesterday
    shop.purge()

    with pytest.raises(CallFencedError):
        shop.order("r1")


def test_a_purge_below_the_retention_is_refused(shop: Shop) -> None:
    shop.order("r1")
    shop.time.now += 100 * DAY_S

    with pytest.raises(ToolsError, match="promises to remember"):
        shop.purge(older_than_s=RETENTION_S - 1)

    assert shop.look_up("r1").status == "done"


def test_params_without_a_form_in_json_are_refused_before_anything_is_done(shop: Shop) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        shop.order("r1", float("nan"))  # type: ignore[arg-type]  # as a careless tool would

    assert shop.count() == 0


@pytest.mark.parametrize("backend", [*BACKENDS, *ASYNC_BACKENDS])
def test_a_database_that_was_made_anew_gets_a_new_table(
    backend: str, tmp_path: Path, postgres: Callable[[], str]
) -> None:
    with open_shop(backend, tmp_path, postgres=postgres) as shop:
        shop.order("r1")
        shop.execute("DROP TABLE saga_fence")
        assert shop.order("r2") == {"item": "tea"}
        shop.execute("DROP TABLE saga_fence")
        assert shop.look_up("r3").status == "absent"
        assert shop.count() == 2


@pytest.mark.parametrize("backend", ["sqlalchemy-sqlite", "postgres"])
def test_an_orm_session_joins_the_transaction_of_the_fence(
    backend: str, tmp_path: Path, postgres: Callable[[], str]
) -> None:
    with open_shop(backend, tmp_path, postgres=postgres) as shop:
        assert isinstance(shop, BlockingShop)

        def order(req_id: str, error: Exception | None = None) -> None:
            with shop.fence.do(ctx(req_id)) as call:
                if call.is_first:
                    joined = Session(bind=call.db, join_transaction_mode="create_savepoint")
                    with joined, joined.begin():
                        joined.execute(sa.text(INSERT), {"item": "tea"})
                    if error is not None:
                        raise error

        order("r1")
        order("r1")
        with pytest.raises(SoldOutError):
            order("r2", SoldOutError("no tea left"))

        assert shop.count() == 1
