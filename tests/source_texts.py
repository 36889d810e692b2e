"""The sentences of a module's source, as templates where they are put together."""

import ast
import itertools
import re

# Arguments and attributes that only tables of the documentation show.
DOCUMENTED = {"forms", "example", "about", "description", "install", "source"}
# Calls whose arguments are texts, even of one word. Errors are recognized by their names.
SHOWING = {"damaged", "Stopped", "Interrupted", "Finding", "Check", "ClickException", "fail"}
# Calls whose arguments are no messages: looked up elsewhere, or for the log and for parsers.
SILENT = {
    *("tr", "option", "argument", "Column", "command", "group", "compile", "execute", "getLogger"),
    *("executemany", "debug", "info", "warning", "error", "exception", "fullmatch", "search"),
    *("match", "sub", "split", "findall", "cast", "ValueError", "AssertionError", "TypeError"),
    *(
        "BackendKind",
        "Contender",
        "RuntimeError",
        "AttributeError",
        "NotImplementedError",
        "KeyError",
        "import_module",
        # Reasons in results, which are data.
        "Mismatch",
        "Verdict",
    ),
}
_WORD = re.compile(r"[A-Za-z]{2,}")


class Messages(ast.NodeVisitor):
    """Sentences of a module: texts of two words, and whatever an error says."""

    def of(self, tree):
        self.found = []
        self.visit(tree)
        return self.found

    def visit_Expr(self, node):
        if not isinstance(node.value, ast.Constant):  # a docstring
            self.generic_visit(node)

    def visit_Call(self, node):
        name = called(node)
        if name == "warning" and isinstance(node.args[0], ast.Constant):
            number = itertools.count()
            text = re.sub("%[srd]", lambda _: f"{{{next(number)}}}", node.args[0].value)
            self.found.append((text, node.lineno))
        if name in SILENT:
            return
        if name in SHOWING or name.endswith("Error"):
            for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
                self.keep(argument, 1, spaced=False)
        else:
            self.generic_visit(node)

    def visit_keyword(self, node):
        if node.arg not in DOCUMENTED:
            self.visit(node.value)

    def visit_AnnAssign(self, node):
        # Purposes of commands are help.
        if node.value is not None and ast.unparse(node.target) != "GROUPS":
            self.visit(node.value)

    def visit_Constant(self, node):
        self.keep(node, 2)

    def visit_JoinedStr(self, node):
        self.keep(node, 1)

    def visit_BinOp(self, node):
        self.keep(node, 2)

    def visit_Dict(self, node):
        for value in node.values:
            self.visit(value)

    def visit_Subscript(self, node):
        self.visit(node.value)
        # Pairs of texts, but no names of keys.
        if isinstance(node.slice, ast.Tuple):
            self.visit(node.slice)

    def visit_Compare(self, node):
        """Texts that are compared are no messages."""

    def keep(self, node, words, spaced=True):
        """Keep a text of so many words; what is none may have texts in it."""
        for part in _inside(node):
            self.visit(part)
        for text in texts_of(node) or ():
            literal = re.sub(r"\{\d+\}", "/", text)
            count = len(_WORD.findall(literal))
            # Names of columns, options and files have no space.
            if (
                "{}" not in text
                and count >= words
                and (" " in literal.strip() or not spaced)
                and _is_prose(literal)
            ):
                self.found.append((text, node.lineno))
        if texts_of(node) is None and not isinstance(node, (ast.Constant, ast.JoinedStr)):
            self.generic_visit(node)


# SQL, Python, Jinja, shell and regular expressions.
_CODE = re.compile(
    r"\s*(SELECT|INSERT|UPDATE|DELETE|CREATE|PRAGMA|BEGIN|SET |import |from |<|\{%|#!|\(\?)"
)


def _is_prose(text):
    return not _CODE.match(text)


def _inside(node):
    """Expressions of a text's fields, which may be texts: f"{'a' if b else 'c'}"."""
    for part in ast.walk(node) if isinstance(node, (ast.JoinedStr, ast.BinOp)) else ():
        if isinstance(part, ast.FormattedValue):
            yield part.value


def texts_of(node):
    """The texts that an expression may have, with fields from {0} on; None if it is no text."""
    parts = _alternatives(node)
    if parts is None:
        return None
    texts = []
    for alternative in parts:
        if not any(piece is None for piece in alternative):
            texts.append("".join(alternative))
            continue
        number = itertools.count()
        pieces = (
            f"{{{next(number)}}}" if piece is None else piece.replace("{", "{{").replace("}", "}}")
            for piece in alternative
        )
        texts.append("".join(pieces))
    return texts


def _alternatives(node):
    """Lists of literal pieces and None for a field, one list for each branch."""
    if isinstance(node, ast.Constant):
        return [[node.value]] if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return [[v.value if isinstance(v, ast.Constant) else None for v in node.values]]
    if isinstance(node, ast.IfExp):
        sides = [_alternatives(node.body), _alternatives(node.orelse)]
        return None if None in sides else [*sides[0], *sides[1]]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _alternatives(node.left), _alternatives(node.right)
        if left is None and right is None:
            return None
        # What is no literal is a field.
        pairs = itertools.product(left or [[None]], right or [[None]])
        return [[*one, *other] for one, other in pairs]
    return None


def called(call):
    function = call.func
    if isinstance(function, ast.Name):
        return function.id
    return function.attr if isinstance(function, ast.Attribute) else ""
