"""Structural mutation: from a sound plan to one that is nearly sound, or not at all.

Each mutator changes a tree in place and may find nothing to do. What is drawn comes from one
`Random`, so a case is its seed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from random import Random
from typing import Any

from fsm_saga.core.limits import LIMITS
from tests.fuzz.tree import Pairs, Place, Raw, Tree, item_at, objects, places, put, tree_of
from tests.fuzz.words import (
    KINDS,
    ODD_NUMBERS,
    ODD_TEXTS,
    ODD_VALUES,
    PLAN_FIELDS,
    PRIVILEGED,
    REFERENCE_FORMS,
    TOOL_NAMES,
)

Mutator = Callable[[Tree, Random], None]

CHANGES_MAX = 8
HUGE_SHARE = 0.004


def mutated(tree: Tree, draw: Random, others: Callable[[], Tree]) -> Tree:
    """Return the tree after some mutations; ``others`` gives trees to splice with.

    One case in eight comes back as it is: what is accepted has to be looked at too.
    """
    tree = tree_of(tree)
    if draw.random() < 0.12:
        return tree
    if draw.random() < 0.06:
        splice(tree, tree_of(others()), draw)
    count = min(1 + int(draw.expovariate(0.7)), CHANGES_MAX)
    for mutate in draw.choices(MUTATORS, WEIGHTS, k=count):
        mutate(tree, draw)
    if draw.random() < HUGE_SHARE:
        draw.choice(HUGE)(tree, draw)
    return tree


# --- where ---------------------------------------------------------------------------------------


def _some_place(tree: Tree, draw: Random) -> Place | None:
    found = places(tree)
    return draw.choice(found) if found else None


def _some_object(tree: Tree, draw: Random) -> Pairs | None:
    found = objects(tree)
    return draw.choice(found) if found else None


def field(tree: Tree, name: str) -> Any:
    """Return the value of a field, or None."""
    if isinstance(tree, Pairs):
        return next((item for key, item in tree if key == name), None)
    return None


def steps_of(tree: Tree) -> list[Pairs]:
    """Return the steps of a plan that still are objects."""
    steps = field(tree, "steps")
    if isinstance(steps, Pairs) or not isinstance(steps, list):
        return []
    return [step for step in steps if isinstance(step, Pairs)]


def set_field(tree: Pairs, name: str, value: Any) -> None:
    """Give an object a field, in place of one that it has."""
    for pair in tree:
        if pair[0] == name:
            pair[1] = value
            return
    tree.append([name, value])


def _some_step(tree: Tree, draw: Random) -> Pairs | None:
    steps = steps_of(tree)
    return draw.choice(steps) if steps else None


def some_id(tree: Tree, draw: Random) -> Any:
    """Return the id of some step, as written or as it may be mistaken."""
    step = _some_step(tree, draw)
    own = field(step, "step_id") if step is not None else 1
    return draw.choice([own, own, own, str(own), f"step_{own}", 99, "x", -1, None])


# --- the shape of the text -----------------------------------------------------------------------


def delete(tree: Tree, draw: Random) -> None:
    """Remove a member or an item."""
    place = _some_place(tree, draw)
    if place is not None:
        holder, index = place
        del holder[index]


def double(tree: Tree, draw: Random) -> None:
    """Write a member twice: the same key, or one that looks like it."""
    thing = _some_object(tree, draw)
    if not thing:
        return
    key, item = draw.choice(thing)
    like = draw.choice([key, key, key.replace("i", "ı"), f"{key}\u200b", key.upper(), f" {key}"])
    if draw.random() < 0.3:
        like = "".join(chr(ord(c) + 0xFEE0) if "a" <= c <= "z" else c for c in key)
    other = item if draw.random() < 0.5 else odd_value(tree, draw)
    thing.insert(draw.randrange(len(thing) + 1), [like, copy.deepcopy(other)])


def rename(tree: Tree, draw: Random) -> None:
    """Give a member another name."""
    thing = _some_object(tree, draw)
    if not thing:
        return
    pair = draw.choice(thing)
    pair[0] = draw.choice(
        [
            draw.choice(PLAN_FIELDS),
            draw.choice(PRIVILEGED),
            draw.choice(ODD_TEXTS),
            pair[0][:-1],
            pair[0].title(),
            pair[0].replace("_", "-"),
            draw.choice(REFERENCE_FORMS).format(id=1),
        ]
    )


def swap_type(tree: Tree, draw: Random) -> None:
    """Put a value of another kind in a place."""
    place = _some_place(tree, draw)
    if place is None:
        return
    item = item_at(place)
    choices: list[Any] = [None, True, 0, 1.5, "x", [], Pairs(), [item], Pairs([["x", item]])]
    if isinstance(item, list):
        choices += [str(len(item)), *(each for each in item[:2])]
    else:
        choices += [str(item), 1 if item is True else item]
    put(place, copy.deepcopy(draw.choice(choices)))


def odd_value(tree: Tree, draw: Random) -> Any:
    """Return a value that goes wrong somewhere."""
    kind = draw.randrange(6)
    if kind == 0:
        return draw.choice(ODD_NUMBERS)
    if kind == 1:
        return draw.choice(ODD_TEXTS)
    if kind == 2:
        return reference(tree, draw)
    if kind == 3:
        place = _some_place(tree, draw)
        return None if place is None else copy.deepcopy(item_at(place))
    return copy.deepcopy(draw.choice(ODD_VALUES))


def replace(tree: Tree, draw: Random) -> None:
    """Put an odd value in a place."""
    place = _some_place(tree, draw)
    if place is not None:
        put(place, odd_value(tree, draw))


def extreme_number(tree: Tree, draw: Random) -> None:
    """Put an extreme number where a number stands, else anywhere."""
    found = places(tree)
    numbers = [place for place in found if isinstance(item_at(place), int | float)]
    if found:
        put(draw.choice(numbers or found), draw.choice(ODD_NUMBERS))


def odd_text(tree: Tree, draw: Random) -> None:
    """Put an odd text in place of a text, or into it."""
    texts = [place for place in places(tree) if isinstance(item_at(place), str)]
    if not texts:
        return
    place = draw.choice(texts)
    text, odd = item_at(place), draw.choice(ODD_TEXTS)
    at = draw.randrange(len(text) + 1)
    put(place, draw.choice([odd, text[:at] + odd + text[at:], text + odd]))


def nest(tree: Tree, draw: Random) -> None:
    """Wrap a value in lists and objects, up to and over the limit of the depth."""
    place = _some_place(tree, draw)
    if place is None:
        return
    levels = draw.choice([1, 2, 5, LIMITS.depth_max - 5, LIMITS.depth_max - 4, LIMITS.depth_max])
    item = item_at(place)
    for level in range(levels):
        item = [item] if level % 2 else Pairs([["x", item]])
    put(place, item)


def exchange(tree: Tree, draw: Random) -> None:
    """Exchange the values of two places that do not lie in each other."""
    one, other = _some_place(tree, draw), _some_place(tree, draw)
    if one is not None and other is not None:
        first, second = copy.deepcopy(item_at(one)), copy.deepcopy(item_at(other))
        put(one, second)
        put(other, first)


def insert(tree: Tree, draw: Random) -> None:
    """Add a field or an item that is not expected there."""
    place = _some_place(tree, draw)
    holder = tree if place is None else place[0]
    value = odd_value(tree, draw)
    if isinstance(holder, Pairs):
        name = draw.choice([*PLAN_FIELDS, draw.choice(ODD_TEXTS)])
        holder.insert(draw.randrange(len(holder) + 1), [name, value])
    elif isinstance(holder, list):
        holder.insert(draw.randrange(len(holder) + 1), value)


def privilege(tree: Tree, draw: Random) -> None:
    """Add a field by which a plan would speak for the engine."""
    thing = _some_object(tree, draw)
    if thing is not None:
        value = draw.choice([1, "x", True, Pairs(), odd_value(tree, draw)])
        thing.append([draw.choice(PRIVILEGED), value])


# --- the sense of the plan -----------------------------------------------------------------------


def reference(tree: Tree, draw: Random) -> str:
    """Return a reference to some step, sound or mangled."""
    form = draw.choice(REFERENCE_FORMS) if draw.random() < 0.7 else draw.choice(REFERENCE_FORMS[:5])
    return form.format(id=some_id(tree, draw))


def mangle_reference(tree: Tree, draw: Random) -> None:
    """Put a reference in place of a reference, else in place of a parameter."""
    found = places(tree)
    texts = [place for place in found if isinstance(item_at(place), str)]
    old = [place for place in texts if item_at(place).startswith("$")]
    if old and draw.random() < 0.6:
        place = draw.choice(old)
        text = item_at(place)
        at = draw.randrange(len(text) + 1)
        cut = text[:at] + draw.choice(["", ".", " ", "x", "\0", "$", "{", "0"]) + text[at + 1 :]
        put(place, draw.choice([cut, reference(tree, draw)]))
    elif texts:
        put(draw.choice(texts), reference(tree, draw))


def depend(tree: Tree, draw: Random) -> None:
    """Write dependencies: on others, on itself, in a circle, on nothing that exists."""
    step = _some_step(tree, draw)
    if step is None:
        return
    names = [some_id(tree, draw) for _ in range(draw.randrange(4))]
    set_field(step, "depends_on", names)


def knot(tree: Tree, draw: Random) -> None:
    """Make all steps wait for each other in a circle, or all for one."""
    steps = steps_of(tree)
    ids = [field(step, "step_id") for step in steps]
    is_star = draw.random() < 0.5
    for number, step in enumerate(steps):
        set_field(step, "depends_on", [ids[0]] if is_star else [ids[number - 1]])


def same_id(tree: Tree, draw: Random) -> None:
    """Give two steps ids that are one, or that look like one."""
    step = _some_step(tree, draw)
    if step is not None:
        set_field(step, "step_id", draw.choice([some_id(tree, draw), draw.choice(ODD_TEXTS)]))


def more_steps(tree: Tree, draw: Random) -> None:
    """Write a step again, with its own id or with a new one."""
    steps = field(tree, "steps")
    if not isinstance(steps, list) or not steps:
        return
    for _ in range(draw.choice([1, 1, 3])):
        again = copy.deepcopy(draw.choice(steps))
        if isinstance(again, Pairs) and draw.random() < 0.8:
            set_field(again, "step_id", draw.choice([draw.randrange(1000), f"s{len(steps)}"]))
        steps.insert(draw.randrange(len(steps) + 1), again)


def shuffle_steps(tree: Tree, draw: Random) -> None:
    """Write the steps in another order."""
    steps = field(tree, "steps")
    if isinstance(steps, list):
        draw.shuffle(steps)


def option(tree: Tree, draw: Random) -> None:
    """Give a step a field that it may have, mostly with a value that it may have."""
    step = _some_step(tree, draw)
    if step is None:
        return
    name = draw.choice(["kind", "retry", "timeout_s", "deadline_s", "approval", "rollback", "name"])
    seconds = [0.001, 1, 30, 86_400, 0, -1, 10**9]
    values: dict[str, list[Any]] = {
        "kind": list(KINDS[:4]) * 3 + list(KINDS[4:]),
        "retry": [
            Pairs([["attempts", draw.choice([1, 2, 100, 0, 101])]]),
            Pairs([["attempts", 2], ["delay_s", draw.choice(seconds)]]),
            Pairs([["attempts", 2], ["delay_s", 9], ["delay_s_max", draw.choice(seconds)]]),
        ],
        "timeout_s": seconds,
        "deadline_s": seconds,
        "approval": [True, False, Pairs([["expires_s", draw.choice(seconds)]]), "yes", 1],
        "rollback": [
            Pairs([["semantic", "say sorry"]]),
            Pairs([["tool", "anything"], ["params", Pairs([["x", reference(tree, draw)]])]]),
            Pairs([["tool", "anything"], ["semantic", "both"]]),
            None,
        ],
        "name": ["a name", *ODD_TEXTS[:20]],
    }
    set_field(step, name, copy.deepcopy(draw.choice(values[name])))


def other_tool(tree: Tree, draw: Random) -> None:
    """Call another tool in a step or in its undo, mostly without what it needs."""
    step = _some_step(tree, draw)
    if step is None:
        return
    inner = field(step, "rollback")
    call = inner if isinstance(inner, Pairs) and draw.random() < 0.4 else step
    set_field(call, "tool", draw.choice(TOOL_NAMES))
    if draw.random() < 0.4:
        set_field(step, "rollback", None)
    if draw.random() < 0.4:
        params = [[name, draw.choice(["x", 1, reference(tree, draw)])] for name in ("amount", "x")]
        set_field(call, "params", Pairs(params[: draw.randrange(3)]))


def splice(tree: Tree, other: Tree, draw: Random) -> None:
    """Put a part of another plan into this one, in the place of a part or beside it."""
    theirs, ours = _some_place(other, draw), _some_place(tree, draw)
    if draw.random() < 0.4:
        mine, steps = field(tree, "steps"), field(other, "steps")
        if isinstance(mine, list) and isinstance(steps, list):
            mine += steps
    elif theirs is not None and ours is not None:
        put(ours, item_at(theirs))


# --- at and over the limits ----------------------------------------------------------------------


def huge_text(tree: Tree, draw: Random) -> None:
    """Put a text at a limit in a place."""
    place = _some_place(tree, draw)
    limit = LIMITS.string_max
    size = draw.choice([limit, limit + 1, 3 * limit, LIMITS.plan_bytes_max + 1])
    if place is not None:
        put(place, draw.choice(["a", "é", "$", "[", "\\", "/*"]) * size)


def huge_list(tree: Tree, draw: Random) -> None:
    """Put a list or an object with many values in a place."""
    place = _some_place(tree, draw)
    size = draw.choice([1_000, 20_000, LIMITS.value_max, LIMITS.value_max + 1])
    if place is not None:
        many: Any = [0] * size
        if draw.random() < 0.4:
            many = Pairs([[f"k{number}", 0] for number in range(size)])
        put(place, many)


def huge_depth(tree: Tree, draw: Random) -> None:
    """Put a value in a place that is nested thousands of levels deep."""
    place = _some_place(tree, draw)
    levels = draw.choice([200, 2_000, 100_000])
    if place is not None:
        put(place, Raw(draw.choice(["[" * levels, "[" * levels + "]" * levels, '{"a":' * levels])))


def huge_repeat(tree: Tree, draw: Random) -> None:
    """Write the steps so often that they reach or pass the limit."""
    steps = field(tree, "steps")
    if not isinstance(steps, list) or not steps:
        return
    count = draw.choice([LIMITS.step_max, LIMITS.step_max + 1, 1_000])
    again = [copy.deepcopy(steps[number % len(steps)]) for number in range(count)]
    for number, step in enumerate(again):
        if isinstance(step, Pairs) and draw.random() < 0.99:
            set_field(step, "step_id", number)
    steps[:] = again


HUGE: tuple[Mutator, ...] = (huge_text, huge_list, huge_depth, huge_repeat)

_WEIGHTED: dict[Mutator, int] = {
    delete: 8, double: 5, rename: 6, swap_type: 6, replace: 8, extreme_number: 5, odd_text: 8,
    nest: 3, exchange: 4, insert: 4, privilege: 4, mangle_reference: 10, depend: 8, knot: 2,
    same_id: 5, more_steps: 4, shuffle_steps: 3, option: 14, other_tool: 5,
}  # fmt: skip
MUTATORS = tuple(_WEIGHTED)
WEIGHTS = tuple(_WEIGHTED.values())
