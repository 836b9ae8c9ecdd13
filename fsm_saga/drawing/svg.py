"""What Graphviz wrote -> the SVG that leaves the house.

Graphviz's SVG is taken apart and built again from a closed list of elements and attributes, so
that nothing can be in it which this file does not name: no script, no foreign object, no link, no
style sheet, no picture from elsewhere. On the way it becomes better to use: each node's title is
what the picture says about it instead of a Graphviz name, the name on a card is bold, and
the whole has a role and a title for screen readers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from xml.etree import ElementTree as ET

from fsm_saga.drawing.picture import NodeForm, Picture
from fsm_saga.drawing.plain import plain_text
from fsm_saga.errors import DrawingError

SVG = "http://www.w3.org/2000/svg"
_XLINK_TITLE = "{http://www.w3.org/1999/xlink}title"

_KEPT: Mapping[str, frozenset[str]] = {
    "svg": frozenset({"width", "height", "viewBox"}),
    "g": frozenset({"id", "class", "transform"}),
    "text": frozenset({"x", "y", "text-anchor", "font-family", "font-size", "fill"}),
    "polygon": frozenset({"points"}),
    "polyline": frozenset({"points"}),
    "path": frozenset({"d"}),
    "ellipse": frozenset({"cx", "cy", "rx", "ry"}),
}
_PAINT = frozenset({"fill", "stroke", "stroke-width", "stroke-dasharray", "fill-opacity"})
_SHAPES = frozenset({"polygon", "polyline", "path", "ellipse"})
_LINKS = re.compile(r"(?:^|\})href$")
_NAMED_FORMS = frozenset({NodeForm.CARD, NodeForm.BOX, NodeForm.OCTAGON})


def finish_svg(drawn: bytes, picture: Picture, *, comment: str = "") -> bytes:
    """Return the SVG that Graphviz drew of this picture, checked and made ours.

    Ids are those of the picture. The same input gives the same bytes.

    Args:
        drawn: What Graphviz wrote.
        picture: What it was to draw.
        comment: Words for a comment at the top; plain ASCII without two hyphens in a row.

    Raises:
        DrawingError: If there is anything in it that no picture of ours contains, or something
            of the picture is missing.
    """
    try:
        # Graphviz declares no entities, and expat limits their expansion by itself.
        root = ET.fromstring(drawn)  # noqa: S314  # written by Graphviz from our own DOT
    except ET.ParseError as error:
        raise DrawingError(
            f"Graphviz wrote an SVG that cannot be read: {error}. Nothing was saved; "
            f"ask for another format or another version of Graphviz."
        ) from error
    tooltips = _tooltips(picture)
    names = {node.id: node.name_lines for node in picture.nodes if node.form in _NAMED_FORMS}
    finished = _copy(root, tooltips, names)
    _check_ids(finished, picture)
    title = ET.Element(f"{{{SVG}}}title")
    title.text = plain_text(picture.title)
    finished.insert(0, title)
    finished.attrib |= {"role": "img", "aria-label": title.text}
    ET.register_namespace("", SVG)
    body = ET.tostring(finished, encoding="unicode")
    note = f"<!-- {comment} -->\n" if comment else ""
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{note}{body}\n'.encode()


def _tooltips(picture: Picture) -> Mapping[str, str]:
    tips = {node.id: node.tooltip or " ".join(node.lines) for node in picture.nodes}
    tips |= {cluster.id: cluster.title for cluster in picture.clusters}
    tips |= {edge.id: edge.tooltip or edge.label_line for edge in picture.edges}
    return {thing: plain_text(text) for thing, text in tips.items()}


def _local(element: ET.Element) -> str:
    namespace, _, name = element.tag[1:].partition("}")
    if namespace != SVG:
        raise _refused(f"the element {element.tag!r}")
    return name


def _refused(what: str) -> DrawingError:
    return DrawingError(
        f"The SVG was refused: Graphviz wrote {what}, which no picture of ours contains. "
        f"Nothing was saved; ask for another format or another version of Graphviz."
    )


def _copy(element: ET.Element, tooltips: Mapping[str, str], names: Mapping[str, int]) -> ET.Element:
    name = _local(element)
    if name not in _KEPT:
        raise _refused(f"the element {name!r}")
    kept = _KEPT[name] | (_PAINT if name in _SHAPES else frozenset())
    _check_attributes(element)
    copy = ET.Element(
        element.tag, {key: value for key, value in element.attrib.items() if key in kept}
    )
    if name == "text":
        copy.text = (element.text or "").replace("\N{NO-BREAK SPACE}", " ")
    own_id = copy.get("id", "")
    if tooltips.get(own_id):
        title = ET.SubElement(copy, f"{{{SVG}}}title")
        title.text = tooltips[own_id]
    for child in _children(element):
        copy.append(_copy(child, tooltips, names))
    for line in copy.findall(f"{{{SVG}}}text")[: names.get(own_id, 0)]:
        line.set("font-weight", "600")
    copy.tail = "\n"
    return copy


def _children(element: ET.Element) -> Iterator[ET.Element]:
    """Yield what is inside, without Graphviz's titles and the wrappers of its tooltips."""
    for child in element:
        name = _local(child)
        if name == "title":
            continue
        is_wrapper = name == "g" and child.get("id", "").startswith("a_")
        if name == "a" or is_wrapper:
            _check_attributes(child)
            yield from _children(child)
        else:
            yield child


def _check_attributes(element: ET.Element) -> None:
    for key, value in element.attrib.items():
        if key.lower().startswith("on") or (_LINKS.search(key) and value):
            raise _refused(f"the attribute {key!r}")
        if key != _XLINK_TITLE and "url(" in value.lower():
            raise _refused(f"the value {value[:40]!r}")


def _check_ids(root: ET.Element, picture: Picture) -> None:
    drawn = {element.get("id") for element in root.iter()}
    missing = [thing for thing in picture.ids if thing not in drawn]
    if missing:
        raise DrawingError(
            f"The SVG was refused: Graphviz left out {missing[0]!r} and "
            f"{len(missing) - 1} more of the picture's parts. Nothing was saved; ask for another "
            f"format or another version of Graphviz."
        )
