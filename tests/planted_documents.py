"""Documents with one planted fault each: what is planted, where, and which rule has to find it.

Every document is sound but for its fault. It has what looks like faults and is none: code,
quotations and inline code with notes to oneself, dead links and tables.
"""

from dataclasses import dataclass

from mlx_probe.library.documents.subjects import model_sha256, run_sha256

FRONT = """\
---
kind: experiment
id: exp_0001
date: 2026-11-30
status: finished
---
"""
TITLE = "# A sound experiment\n"
# Ends with a line behind which a fault is planted.
BODY = """
See [the other page](other.md), [its part](other.md#a-part-of-it), [this one](#what-looks-wrong),
[a picture of it](curve.svg), https://example.org/gone.md and [elsewhere](https://example.org).

![The loss over the steps](curve.svg)

## What looks wrong

```markdown
TODO: [dead](nowhere.md), [empty](), ![no picture](none.png)
| a | b |
|---|---|
| 1 |
```

    FIXME in indented code, [dead](nowhere.md)

> TODO: someone else's words, quoted.

Inline: `TODO`, `[dead](nowhere.md)`, ``[x]() ` TBD``. The word "TODO" and a TODO comment are spoken
of. Escaped: \\[text](gone.md).

````text
```
TODO: a fence in a fence
````

| column | `a \\| b` |
|--------|-----------|
| 1      | 2         |

## Here

"""


@dataclass(frozen=True)
class Planted:
    """A document with a fault.

    Attributes:
        rule: The rule that has to find it.
        text: The document.
        line: Where.
        name: Of its file.
    """

    rule: str
    text: str | bytes
    line: int
    name: str = "planted.md"


def in_body(rule, snippet):
    """A snippet behind a sound text; ¶ marks the faulty line, without it that is the first."""
    before = f"{FRONT}{TITLE}{BODY}"
    marked = snippet.partition("¶")
    ahead = marked[0] if marked[1] else ""
    line = before.count("\n") + ahead.count("\n") + 1
    return Planted(rule, f"{before}{snippet.replace('¶', '')}\n", line)


def in_front(rule, changes, line):
    """Another front matter: text by text that it replaces."""
    front = FRONT
    for old, new in changes.items():
        assert old in front
        front = front.replace(old, new)
    return Planted(rule, f"{front}{TITLE}{BODY}", line)


def _titles():
    body = BODY.lstrip("\n")
    for text in (
        f"{FRONT}{body}",
        f"{FRONT}A sound experiment, in bold: **so**\n\n{body}",
        f"{FRONT}```text\n# no title\n```\n\n{body}",
        f"{FRONT}> # someone else's title\n\n{body}",
        f"{FRONT}\\# no title\n\n{body}",
    ):
        yield Planted("no-title", text, FRONT.count("\n") + 1)


def _dates():
    yield in_front("no-date", {"date: 2026-11-30\n": ""}, 1)
    for wrong in ("2026-13-01", "yesterday", "", "30.11.2026"):
        yield in_front("no-date", {"date: 2026-11-30": f"date: {wrong}".rstrip()}, 4)


def _names():
    for name in ("Planted.md", "my page.md", "PLANTED.md", "planted.MD", "pLanted_Page.md"):
        yield Planted("file-name", f"{FRONT}{TITLE}{BODY}", 1, name)


# Snippets by rule. Exactly the named rule finds each, once, in the marked line.
SNIPPETS = {
    "empty-link": [
        "A link to [nothing]().",
        "First\n¶[a blank](<>) one",
        "- an item\n- ¶[](other.md)",
        "[an address](http://)",
        'Text <a href="">in HTML</a>.',
    ],
    "empty-anchor": [
        "[here](#)",
        "A line\n¶and [there](other.md#)",
        '<a id=""></a>',
        "| a | b |\n|---|---|\n¶| [x](#) | 2 |",
        'See <a name=""></a>this.',
    ],
    "dead-link": [
        "[gone](gone.md)",
        "One line,\n¶[gone](../nowhere/page.md#part) and another",
        "[by name][gone]\n\n[gone]: ./gone.txt",
        "[other](Other.md)",
        '<p><a href="missing.pdf">in HTML</a></p>',
    ],
    "dead-anchor": [
        "[x](#no-such-part)",
        "[x](other.md#no-such-part)",
        "Several `lines\nof code`,\n¶then [x](other.md#A-part-of-it)",
        "[x](#todo)",
        "- [x](#here-1)",
    ],
    "todo": [
        "TODO: write this",
        "- [ ] done\n- ¶FIXME: this is still a TODO.",
        "| a | b |\n|---|---|\n¶| 1 | TBD |",
        "<!-- a comment\n¶TODO: think -->",
        "这一部分待补充。",
    ],
    "unlabelled-fence": [
        "```\nno language\n```",
        "~~~\nno language\n~~~",
        "1. item\n\n   ¶```\n   inside\n   ```",
        "> ```\n> quoted\n> ```",
        "````\n```python\n```\n````",
    ],
    "unclosed-fence": [
        "```text\nto the end",
        "~~~text\n```",
        "````text\n```",
        "```text",
        "- item\n\n  ¶```text\n  inside\n\nbehind the list",
    ],
    "table-columns": [
        "| a | b |\n|---|---|\n¶| 1 | 2 | 3 |",
        "| a | b |\n|---|---|\n| 1 | 2 |\n¶| 1 |",
        "| a | b |\n|---|---|\n¶| `x | y` | 2 |",
        "| a | b |\n|---|---|---|\n| 1 | 2 |",
        "a | b\n--|--\n1 | 2\n¶glued to it",
    ],
    "dead-image": [
        "![a curve](gone.png)",
        "![a curve]()",
        'Text <img src="gone.png" alt="a curve">.',
        "[![a curve](gone.svg)](other.md)",
        '<p>\n¶<img alt="a curve" src="../gone.png">\n</p>',
    ],
    "no-alt": [
        "![](curve.svg)",
        '<img src="curve.svg">',
        "| a | b |\n|---|---|\n¶| ![](curve.svg) | 2 |",
        "[![](curve.svg)](other.md)",
        "A line\n¶![ ](curve.svg)",
    ],
    "heading-jump": ["#### Too deep", "### Three\n\n¶##### Five", "##### Five", "###### Six"],
    "second-title": ["# Another", "Another\n=======", "<h1>Another</h1>"],
    "empty-heading": ["##", "### ###"],
    "undefined-link": ["[text][nowhere]", "A line\n¶and [nowhere][]"],
    "double-anchor": [
        '<a id="x"></a>\n\n¶<a id="x"></a>',
        'Text <b id="y">y</b>\n¶<i id="y">z</i>',
    ],
    "directive": [
        "<!-- docs-check: ignore nonsense -->",
        "<!-- docs-check: skip todo -->",
        "<!-- docs-check ignore todo -->",
        "<!-- docs-check: ignore -->",
    ],
}


def planted(run, model):
    """All of them.

    Args:
        run: Folder of a run, whose hash the stale ones have wrong.
        model: A model's file or folder, likewise.
    """
    cases = [in_body(rule, snippet) for rule, texts in SNIPPETS.items() for snippet in texts]
    cases += [*_titles(), *_dates(), *_names()]
    run_hash, model_hash = run_sha256(run), model_sha256(model)
    status = "status: finished\n"
    for wrong in ("0" * 64, run_hash[:-1], run_hash.upper()):
        lines = f"run: {run}\nrun_sha256: {wrong}\n"
        cases.append(in_front("stale", {status: lines}, 6))
    for wrong in ("0" * 64, model_hash[1:]):
        lines = f"model_path: {model}\nmodel_sha256: {wrong}\n"
        cases.append(in_front("stale", {status: lines}, 6))
    gone = {"run": f"{run}-gone\nrun_sha256: {run_hash}", "model_path": f"{model}-gone"}
    for key, lines in gone.items():
        cases.append(in_front("missing-subject", {status: f"{key}: {lines}\n"}, 5))
    cases.append(in_front("kind", {"kind: experiment": "kind: experiments"}, 2))
    cases.append(in_front("kind", {"id: exp_0001\n": ""}, 2))
    cases.append(Planted("front-matter", f"---\na: [b\n---\n{TITLE}{BODY}", 3))
    cases.append(Planted("unreadable", b"# Title\n\n\xff\xfe\n", 1))
    return cases
