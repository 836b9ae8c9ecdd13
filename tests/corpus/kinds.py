"""The list of bad input, kind by kind: which case or test holds it, or why it does not apply yet.

Numbers are those of the list that this project started from; the letters are its chapters. A
holder is the name of a case of the plan corpus (`*` stands for the rest of a name) or
``file::test``. `python -m tests.corpus` prints the list and checks that every holder exists.
"""

from __future__ import annotations

from dataclasses import dataclass

ATTACKS = "tests/unit/drawing/test_attacks.py"
REFERENCES = "tests/unit/core/test_references.py"
OTHER = "tests/corpus/test_other_input.py"
NO_WEB = "there is no web interface and no HTTP API yet"
NO_FETCH = "nothing of ours opens an address: it is a text that a tool gets as it is"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of bad input. ``waits`` says why nothing holds it yet."""

    number: str
    what: str
    holders: tuple[str, ...] = ()
    waits: str = ""

    @property
    def held_by(self) -> str:
        """The holders in words, or why there is none."""
        return f"not yet: {self.waits}" if self.waits else "; ".join(map(_words, self.holders))


def _words(holder: str) -> str:
    file, separator, test = holder.partition("::")
    if not separator:
        return f"case {holder}"
    place = file.removeprefix("tests/").removesuffix(".py")
    return f"{place}: {test.removeprefix('test_').replace('_', ' ')}"


def _held(number: str, what: str, *holders: str) -> Kind:
    return Kind(number=number, what=what, holders=holders)


def _waits(number: str, what: str, why: str) -> Kind:
    return Kind(number=number, what=what, waits=why)


KINDS: tuple[Kind, ...] = (
    _held(
        "A",
        "the parsing files of JSONTestSuite",
        "tests/corpus/test_json_texts.py::test_a_value_inside_a_plan_is_read_as_the_suite_says",
        "tests/corpus/test_json_texts.py::test_a_text_of_the_suite_is_never_a_plan",
    ),
    _held("A1", "an empty text", "A-empty", "A-empty-spaces", "A-fence-empty"),
    _held("A3", "another value than an object", "A-null", "A-list", "A-text", "A-number"),
    _held("A5", "data after the plan", "A-trailing-*"),
    _held("A7", "comments and code fences", "A-comment-*", "A-fence*"),
    _held("A9", "byte order marks and other encodings", "A-bom*", "A-utf16-*", "A-utf32"),
    _held("A11", "half a character", "A-surrogate*"),
    _held("A13", "a key twice", "A-duplicate", "A-duplicate-top", "A-duplicate-deep"),
    _held("A15", "keys that look alike", "A-duplicate-nf*", "A-duplicate-wide"),
    _held("A17", "a number that becomes infinite", "A-infinite", "A-nan"),
    _held("A19", "an integer of thousands of digits", "A-int-4300", "A-int-6*"),
    _held("A21", "-0, 1.0 and true as ids", "A-id-minus-zero", "A-id-float", "A-id-true"),
    _held("A23", "nesting at and over the limit", "A-depth-limit", "A-depth-over", "A-depth-bomb*"),
    _held("A25", "a text of a megabyte", "A-text-1mib", "A-text-limit", "A-text-over"),
    _held("A27", "a packed text", "A-gzip"),
    _held("B29", "no steps", "B-no-steps", "B-no-steps-field"),
    _held("B31", "steps at and over the limit", "B-steps-limit", "B-steps-over"),
    _held("B33", "an unknown field of a step", "B-unknown-step-field", "B-misspelled-field"),
    _held("B35", "an empty id", "B-id-empty"),
    _held("B37", "an id twice", "B-id-duplicate*"),
    _held(
        "B39",
        "ids that mean something to a runtime",
        "B-id-proto",
        "B-id-constructor",
        "B-id-class",
    ),
    _held("B41", "ids that we know", "B-id-input", "B-id-output", "B-id-leader"),
    _held("B43", "a tool that this caller may not use", "B-tool-denied", "B-tool-*-denied"),
    _held("B45", "an undo that would need an undo", "B-way-undo-of-undo"),
    _held("B47", "no way back, or several points of no return", "B-way-missing*", "B-pivot-*"),
    _held("B49", "odd times", "B-timeout-*", "B-deadline"),
    _held("B51", "fields that belong to the engine", "B-engine-*"),
    _held("C53", "a step that waits for itself", "C-self*"),
    _held("C55", "a long circle", "C-cycle-long", "C-cycle-200"),
    _held("C57", "a dependency on nothing", "C-missing*"),
    _held("C59", "parts that do not hang together", "C-disconnected"),
    _held(
        "C61",
        "the longest chain and the widest plan",
        f"{OTHER}::test_a_plan_of_any_shape_at_the_limit_of_steps_is_read_and_compiled",
    ),
    _held(
        "C63",
        "a diamond in which each corner fails",
        "C-diamond",
        f"{OTHER}::test_a_diamond_is_undone_whichever_corner_fails",
        "tests/modelcheck/test_shapes.py::test_every_history_of_every_shape_of_four_steps_is_sound",
    ),
    _held("D65", "a reference to no step", "D-missing-step", "D-missing-input"),
    _held("D67", "a reference to a step that runs beside", "D-sibling", "D-later"),
    _held("D69", "an undo that needs an output nobody has", "B-way-needs-output*"),
    _held(
        "D71",
        "a path that leads nowhere",
        "D-path-list",
        "D-path-scalar",
        "D-path-input",
        f"{REFERENCES}::test_a_reference_to_nothing_says_what_is_there_instead",
    ),
    _held("D73", "malformed references", "D-alone", "D-dot", "D-two-dots", "D-dollars", "D-spaces"),
    _held("D75", "a reference in the place of a key", "D-key"),
    _held(
        "D77",
        "an output that looks like a reference",
        f"{REFERENCES}::test_what_comes_back_is_never_looked_at_again",
        f"{OTHER}::test_an_output_that_looks_like_a_reference_reaches_the_next_tool_as_text",
    ),
    _held("D79", "a path to attributes of objects", "D-path-attribute"),
    _held("D81", "other namespaces", "D-namespaces"),
    _waits("E83", "addresses in odd notations", NO_FETCH),
    _waits("E85", "names of this machine", NO_FETCH),
    _waits("E87", "a redirect to the inside", NO_FETCH),
    _waits("E89", "schemes such as file and gopher", NO_FETCH),
    _held("E91", "a path that leads out, where a name belongs", "B-task-path", "B-task-dots"),
    _held(
        "E93",
        "odd amounts; a rollback in another currency",
        "E-negative",
        "E-zero",
        "E-huge",
        "E-cent",
        "E-currency-unlike",
    ),
    _waits("F95", "a wrong method", NO_WEB),
    _waits("F97", "odd idempotency keys", NO_WEB),
    _held(
        "F99",
        "a hundred identical submissions at once",
        f"{OTHER}::test_a_hundred_identical_submissions_at_once_are_one_saga",
    ),
    _waits("F101", "an answer without a right to it", NO_WEB),
    _waits("F103", "an attacker's origin or host", NO_WEB),
    _waits("F105", "odd page sizes", NO_WEB),
    _waits("F107", "many connections, slow headers", NO_WEB),
    _waits("F109", "another tenant's saga", NO_WEB),
    _waits("G111", "the end of a script inside embedded JSON", NO_WEB),
    _held(
        "G113",
        "links that act",
        f"{ATTACKS}::test_svg_holds_every_text_and_nothing_else",
        f"{ATTACKS}::test_mermaid_holds_the_text_as_letters_and_numbers",
    ),
    _held(
        "G115",
        "Graphviz's labels, files and escapes",
        "G-dot",
        "G-nul",
        f"{ATTACKS}::test_dot_holds_the_text_in_one_quoted_label",
        f"{ATTACKS}::test_no_mixture_of_quotes_and_backslashes_leaves_its_label",
    ),
    _held(
        "G117",
        "foreign objects in SVG",
        f"{ATTACKS}::test_svg_holds_every_text_and_nothing_else",
        "tests/unit/drawing/test_svg.py::test_what_no_picture_contains_is_refused",
    ),
    _held(
        "G119",
        "terminal sequences",
        "G-ansi",
        "G-csi",
        f"{ATTACKS}::test_the_terminal_gets_text_and_nothing_that_steers_it",
        "tests/unit/cli/test_output.py::test_json_keeps_every_character_and_steers_no_terminal",
    ),
    _held(
        "G121",
        "forged lines of a log",
        "G-log",
        "G-log-unicode",
        "tests/unit/tools/test_wording.py::test_a_line_holds_visible_characters_only",
    ),
    _held(
        "H123",
        "secrets in outputs and errors",
        "tests/unit/tools/test_redact.py::"
        "test_a_secret_of_a_known_form_is_taken_out_of_errors_and_outputs",
        f"{OTHER}::test_no_secret_of_a_tool_is_found_in_anything_that_was_written_or_shown",
    ),
    _held(
        "H125",
        "an error with a stack trace",
        f"{OTHER}::test_an_error_is_kept_as_one_line_without_its_stack_trace",
    ),
    _held(
        "LLM01",
        "prompt injection: what a tool returns steers nothing",
        f"{OTHER}::test_an_output_that_looks_like_a_reference_reaches_the_next_tool_as_text",
        "B-tool-reference",
    ),
    _held("LLM03", "excessive agency: deny by default", "B-tool-denied", "H-undo-wider"),
    _held(
        "LLM04",
        "supply chain: everything is pinned by hash",
        f"{OTHER}::test_every_package_is_pinned_by_hash",
    ),
    _held(
        "LLM06",
        "unbounded consumption",
        "A-values-over",
        "tests/unit/coordinator/test_coordinator.py::"
        "test_more_sagas_than_are_allowed_are_refused_and_later_taken",
    ),
    _held(
        "LLM07",
        "a person approves something else",
        "tests/unit/core/test_people.py::test_an_approved_call_runs_once_with_the_params_that_were_shown",
    ),
    _held(
        "LLM10",
        "code out of texts: nothing evaluates, formats or shells out",
        f"{OTHER}::test_nothing_in_the_package_evaluates_or_unpickles",
    ),
    _waits("ASI07", "signed calls between agents", "tools run inside the process"),
    _waits("ASI10", "a switch that stops new actions of one caller", "there are no callers yet"),
)
