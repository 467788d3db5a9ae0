"""A change to the code that measures is noticed, and somebody decides whether figures may move."""

import ast
import hashlib
import io
import tokenize
from pathlib import Path

from bench.measurement.version import VERSION

PACKAGE = Path(__file__).parents[1] / "bench"
MEASURING = (
    *("comparison.py", "runtime.py", "meters/__init__.py", "measurement/__init__.py"),
    *("measurement/session.py", "measurement/windows.py", "measurement/conditions.py"),
    *("measurement/serving.py", "measurement/figures.py", "measurement/overhead.py"),
)
SEEN = (1, "89e6d11ba6ba23af")
"""Version and digest that belong together: renew the digest when no figure can have moved by the
change, raise ``bench.measurement.version.VERSION`` when one may have."""


def code(path: Path) -> str:
    """Return a file's code without comments, docstrings and layout, alike in every Python."""
    source = path.read_text()
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            for row in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                lines[row - 1] = ""
    return "".join("".join(lines).split())


def digest() -> str:
    content = hashlib.sha256()
    for name in MEASURING:
        content.update(code(PACKAGE / name).encode())
    return content.hexdigest()[:16]


def test_the_version_of_the_measuring_code_was_reconsidered_when_it_changed() -> None:
    assert (VERSION, digest()) == SEEN, (
        "the code that measures has changed: if a figure may have moved by it, raise VERSION in "
        "bench/measurement/version.py; then put the new digest into SEEN"
    )


def test_comments_and_docstrings_do_not_count(tmp_path: Path) -> None:
    one, two = tmp_path / "one.py", tmp_path / "two.py"
    one.write_text('"""Says this."""\n\n\ndef f(x):\n    """Return it."""\n    return x + 1\n')
    two.write_text("# says that\ndef f(x):\n    return x + 1  # one more\n")
    assert code(one) == code(two)
    two.write_text("def f(x):\n    return x + 2\n")
    assert code(one) != code(two)
