from html.parser import HTMLParser

from mlx_probe.core.notebook import card


class Reader(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.texts, self.tags, self.styles = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.styles.append(dict(attributes).get("style", ""))

    def handle_data(self, data):
        self.texts.append(data)


def test_texts_are_shown_as_they_are():
    hostile = '<script>alert("a")</script>&amp;'
    read = Reader(card(hostile, {hostile: hostile}, [(hostile, hostile)]))
    assert read.texts == [hostile] * 5
    assert set(read.tags) == {"div", "strong", "table", "tbody", "tr", "th", "td"}


def test_colours_are_the_notebooks():
    styles = Reader(card("a", {"b": "c"})).styles
    assert not any("color" in style or "background" in style for style in styles)
