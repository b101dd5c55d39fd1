/* init: process 1 of a box.
 *
 * It is static, runs in any image, and uses nothing of it but /etc/passwd and /etc/group. The worker tells it over
 * a connection what to run; it runs that as the step's user, and answers once every process of the run is dead.
 *
 *	init box CAPS	process 1 of a box. CAPS, in hexadecimal: which of the capabilities that it got are its own,
 *			not the box's. It needs KILL, SETGID, SETPCAP and SETUID, uid 0, and no-new-privileges.
 *	init remove DIR	deletes a directory, however deep, following no link (needs DAC_OVERRIDE and FOWNER)
 *	init kill PID	kills a process, its session and descendants (needs the host's pids, and KILL)
 *
 * The connection. init connects to the SOCK_SEQPACKET socket /.codapi/socket. Numbers are little-endian. The worker
 * sends, in messages of at most 65,536 bytes:
 *
 *	RUN	u8 'R', u8 0, u16 arguments (1 to 1,024), u16 variables (to 1,024); then, each with a NUL at its end:
 *		user (name, uid, name:group, uid:gid), the arguments, the variables (NAME=value). With three
 *		descriptors: stdin, stdout, stderr. Starts a program; only when none runs.
 *	KILL	u8 'K'. Kills the run or the reset that goes on; nothing when none does. Its answer comes as always.
 *	RESET	u8 'C'. Deletes what the last run's user left, and checks that nothing is left; only when none runs.
 *
 * Anything else is an error: init exits, as it does when the connection is closed, and all in the box dies with it.
 * Every answer has the 40 bytes of `struct answer`:
 *
 *	HELLO	'H', once, at first. value: version of the protocol; how: bit 0, processor time is known; bit 1,
 *		out-of-memory kills are known.
 *	FAULT	'F', instead of HELLO; then init exits. stage, value: an errno.
 *	DONE	'D', for a RUN. how: 0, value is the exit code; 1, value is a signal; 2, the program could not be
 *		started: stage, value. wall, processor: ns of the run; memory: KiB, greatest resident set of one
 *		process; oom_kills: processes that the kernel killed for the box's memory limit in the run.
 *		All processes of the run are dead.
 *	CLEAN	'C', for a RESET. stage: STAGE_NONE when the box is as new; else throw it away. wall: ns.
 *
 * The program. It gets the variables of the box (those that Docker gave init, which are the image's), under those of
 * the message; HOME is the one in passwd unless the message has one. The working directory, the limits, the umask and
 * no-new-privileges are init's own. It leads a new session. PATH is searched as by runc. When the first process of
 * a run exits, the others are killed, as at the end of a container.
 *
 * Why not uid 0, as process 1 usually is: then a step as root could change its limits, and with SETUID trace it.
 * Real and effective id differ: a process must match all three to be allowed that, which none can do.
 */
#define _GNU_SOURCE
#include "clean.h"
#include "kill.h"
#include "parse.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define VERSION 1
#define FILE_MAX 262144 /* bytes of passwd or group */
#define REAPS_MAX 256	/* zombies that are reaped between two looks at the connection */

struct answer {
	uint8_t type, how;
	uint16_t stage;
	int32_t value;
	uint64_t wall, processor, memory, oom_kills;
};
_Static_assert(sizeof(struct answer) == 40, "layout of the protocol");

enum how { HOW_EXIT, HOW_SIGNAL, HOW_NOT_STARTED };

/* What a child says to init before its exec; a program cannot reach it after. */
struct word {
	enum stage stage;
	int error;
};

extern char **environ;

static int connection = -1, children = -1, processor_file = -1, memory_file = -1;
static const char *processor_key, *memory_key;
static uint64_t box_caps;
static volatile struct word *word;
static struct identity user; /* of the last run */

static struct { /* what goes on; pid is 0 when nothing does */
	pid_t pid;
	char type;
	uint64_t start, end, processor, oom_kills, memory;
	int status;
} run;

static void answer(struct answer answer)
{
	if (send(connection, &answer, sizeof(answer), MSG_NOSIGNAL) != sizeof(answer))
		_exit(1);
}

static void fail(enum stage stage, const char *what)
{
	struct answer fault = {.type = 'F', .stage = (uint16_t)stage, .value = errno};
	fprintf(stderr, "init: %s: %s\n", what, strerror(errno));
	if (connection >= 0)
		answer(fault);
	_exit(1);
}

static uint64_t now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static uint64_t count(int file, const char *key)
{
	char buffer[1024];
	uint64_t number = 0;
	ssize_t n = file < 0 ? -1 : pread(file, buffer, sizeof(buffer), 0);
	if (n > 0)
		parse_count((struct text){buffer, (size_t)n}, key, &number);
	return number;
}

static uint64_t processor_time(void)
{
	return count(processor_file, processor_key) * (*processor_key ? 1000 : 1); /* v2 counts µs, v1 ns */
}

/* Opens the counters of the box's cgroup, v2 or v1. The root of a host's v2 tree has no memory.events. */
static void open_counters(void)
{
	memory_file = open("/sys/fs/cgroup/memory.events", O_RDONLY | O_CLOEXEC);
	bool v2 = memory_file >= 0;
	if (!v2)
		memory_file = open("/sys/fs/cgroup/memory/memory.oom_control", O_RDONLY | O_CLOEXEC);
	memory_key = v2 ? "\noom_kill " : "\noom_kill ";
	processor_file = open(v2 ? "/sys/fs/cgroup/cpu.stat" : "/sys/fs/cgroup/cpuacct/cpuacct.usage",
			      O_RDONLY | O_CLOEXEC);
	processor_key = v2 ? "usage_usec " : "";
}

static bool set_capabilities(uint64_t permitted, uint64_t effective, uint64_t inheritable)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[2];
	for (int i = 0; i < 2; i++)
		sets[i] = (struct __user_cap_data_struct){.permitted = (uint32_t)(permitted >> 32 * i),
							  .effective = (uint32_t)(effective >> 32 * i),
							  .inheritable = (uint32_t)(inheritable >> 32 * i)};
	return syscall(SYS_capset, &head, sets) == 0;
}
