/* Linked into every program: its output appears line by line, as in a terminal. */
#include <stdio.h>

__attribute__((constructor)) static void print_lines(void) { setvbuf(stdout, NULL, _IOLBF, 0); }
