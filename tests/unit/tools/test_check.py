from __future__ import annotations

import pytest
from pydantic import ValidationError

from fsm_saga.tools import CheckAnswer


@pytest.mark.parametrize("status", ["done", "absent", "refused"])
def test_a_check_answers_in_three_words(status: str) -> None:
    assert CheckAnswer.model_validate({"status": status}).output is None


@pytest.mark.parametrize("answer", [{}, {"status": "maybe"}, {"status": "done", "result": 3}])
def test_every_other_answer_is_refused(answer: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CheckAnswer.model_validate(answer)
