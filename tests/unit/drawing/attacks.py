"""Names that somebody could write into a plan to get more than a name out of a picture."""

from __future__ import annotations

ESC = "\x1b"

# What was written, and what has to be seen of it.
ATTACKS: dict[str, tuple[str, str]] = {
    "quotes": ("say \"no\" and 'yes'", "say \"no\" and 'yes'"),
    "a closed label": ('"]; A-->B; x["', '"]; A-->B; x["'),
    "a backslash at the end": ("ends with \\", "ends with \\"),
    "two backslashes": ("\\\\host\\share", "\\\\host\\share"),
    "a quote after a backslash": ('\\" shape="star', '\\" shape="star'),
    "Graphviz escapes": ("\\N \\G \\L \\T \\E \\H", "\\N \\G \\L \\T \\E \\H"),
    "line breaks of Graphviz": ("a\\lb\\rc\\nd", "a\\lb\\rc\\nd"),
    "a bold tag": ("<b>bold</b>", "<b>bold</b>"),
    "an HTML-like label": ("<<table><tr><td/></tr></table>>", "<<table><tr><td/></tr></table>>"),
    "an image": ('<img src="/etc/passwd"/>', '<img src="/etc/passwd"/>'),
    "the end of the SVG": ("</svg><script>a()</script>", "</svg><script>a()</script>"),
    "a foreign object": ("<foreignObject/>", "<foreignObject/>"),
    "the end of a CDATA": ("]]>", "]]>"),
    "entities": ("&lt;i&gt; &amp; &#60; &nbsp;", "&lt;i&gt; &amp; &#60; &nbsp;"),
    "entities of Mermaid": ("#quot; #35; #9829;", "#quot; #35; #9829;"),
    "a directive": ("%%{init: {'theme':'x'}}%%", "%%{init: {'theme':'x'}}%%"),
    "a comment of Mermaid": ("%% gone", "%% gone"),
    "a click": ('click A "javascript:x"', 'click A "javascript:x"'),
    "a keyword": ("end", "end"),
    "backticks": ("`**bold**`", "`**bold**`"),
    "a formula": ("$$x^2$$", "$$x^2$$"),
    "an icon": ("fa:fa-car", "fa:fa-car"),
    "a link": ("https://evil.example/", "https://evil.example/"),
    "a numbered list": ("1. first", "1. first"),
    "front matter": ("--- title: x", "--- title: x"),
    "a template": ("{{ 7*7 }} ${x} {% x %}", "{{ 7*7 }} ${x} {% x %}"),
    "a new line": ("one\ntwo\r\nthree", "one two three"),
    "a line separator": ("one\u2028two\u2029three", "one two three"),
    "a NUL": ("a\x00b", "ab"),
    "colours": (f"{ESC}[31mred{ESC}[0m", "red"),
    "the clipboard": (f"a{ESC}]52;c;cm0gLXJm{ESC}\\b{ESC}]52;c;eA==\x07c", "abc"),
    "C1 controls": ("a\x9b31mb\x9d0;t\x9cc\x85d", "abc d"),
    "text from right to left": ("ab\u202egnp.exe\u2066x", "ab\ufffdgnp.exe\ufffdx"),
    "nothing to see": ("a\u200b\u2060\ufeff\u00adb\U000e0041", "ab"),
    "lone surrogates": ("a\ud800b\udfffc", "a\ufffdb\ufffdc"),
    "no characters": ("a\uffffb\ufdd0c", "a\ufffdb\ufffdc"),
    "piled marks": ("Z" + "\u0335" * 40, "Z" + "\u0335" * 4),
    "emoji": (
        "go \U0001f600 \U0001f468\u200d\U0001f469",
        "go \U0001f600 \U0001f468\u200d\U0001f469",
    ),
    "Chinese": ("预订北京的酒店", "预订北京的酒店"),
    "Arabic": ("احجز الفندق", "احجز الفندق"),
}
