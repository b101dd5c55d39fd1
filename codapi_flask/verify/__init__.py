"""Proves the snippets of a documentation: runs them, and compares what they print.

Comes in: pages. Goes out: a result for each snippet, for a person, for CI, or back into the page.

    pages      reads a page of any format into snippets
    linking    a snippet with all it needs: the request, and where each of its lines stands
    tracing    places in a program's errors, as places in the page
    matching   the output against the expected one: wildcards, the difference
    run        links, executes and judges snippets, several at once
    update     writes outputs into their pages
    watch      which pages were saved
    reports    the results as text, JSON and JUnit's XML
    plugin     the same as tests of pytest
"""
