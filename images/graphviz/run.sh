# Draws main.dot: the drawing is a file, and the output, which the widget shows (output-mode="svg").
set -eu
dot -Tsvg -o main.svg main.dot
cat main.svg
