/* Storms of processes that nothing slows down. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static void *wait_for_ever(void *argument)
{
	pause();
	return argument;
}

/* Each is orphaned at once, in a session of its own, by one that ends. */
static void flee(void)
{
	for (;;) {
		setsid();
		if (fork() > 0)
			_exit(0);
	}
}

int main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "";
	pthread_t thread;

	for (int number = 1; number < NSIG; number++)
		signal(number, SIG_IGN);
	for (;;) {
		if (strcmp(how, "fork") == 0) {
			(void)!fork();
		} else if (strcmp(how, "orphans") == 0) {
			if (fork() == 0)
				flee();
		} else if (strcmp(how, "exec") == 0) {
			if (vfork() == 0)
				execv(argv[0], argv);
		} else if (strcmp(how, "threads") == 0) {
			pthread_create(&thread, NULL, wait_for_ever, NULL);
			(void)!fork();
		} else {
			return 2;
		}
	}
}
