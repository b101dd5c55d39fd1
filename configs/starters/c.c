#include <stdio.h>

int main(void) {
    const char *languages[] = {"B", "BCPL", "C"};
    for (int i = 0; i < 3; i++) {
        printf("%d. Hello from %s!\n", i + 1, languages[i]);
    }
}
