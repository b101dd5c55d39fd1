"""Typesets main.typ: each page is a file, and the first one the output, as the widget shows it."""

import sys

import typst

try:
    pages = typst.compile("main.typ", format="svg")
except typst.TypstError as error:
    sys.exit(str(error.diagnostic if hasattr(error, "diagnostic") else error))
pages = pages if isinstance(pages, list) else [pages]
for number, page in enumerate(pages, 1):
    with open(f"page-{number}.svg", "wb") as file:
        file.write(page)
print(pages[0].decode())
