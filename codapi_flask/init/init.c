/* init: process 1 of a box.
 *
 * It is static, runs in any image, and uses nothing of it but /etc/passwd and /etc/group. The worker sends it programs
 * over a connection; it runs each as the step's user, and answers once every process of the run is dead.
 *
 *	init box CAPS DIR	process 1 of a box. CAPS, in hexadecimal: which of the capabilities that it got are its
 *			own, not the box's. DIR: where the work directory is mounted; the worker deletes its
 *			contents. It needs KILL, SETGID, SETPCAP and SETUID, uid 0, and no-new-privileges.
 *	init plain WAIT ARG...	process 1 of a plain container: executes the program ARG, passes signals on to it, reaps
 *			orphans, and exits with its status. With WAIT 1 it first waits until the memory that sockets
 *			may take is limited (cgroup v1).
 *	init remove DIR	deletes a directory, however deep, following no link (needs DAC_OVERRIDE and FOWNER)
 *	init measure BYTES DIR	exits with 3 if a directory takes more disk than that, with 4 if names vanish at every
 *			measurement, with 5 if it has too many levels, else with 0 (needs DAC_OVERRIDE)
 *	init kill PID ID	kills a process, its session and descendants, if they belong to the container ID
 *			(needs the host's PID namespace, and KILL; with ID -, the container's)
 *	init kill-group GID ID	kills the processes of a container whose group is GID (needs the same)
 *	init service WAIT ARG... as plain; ends once nobody holds a lock (flock) on the directory /.codapi
 *
 * The connection. init connects to the SOCK_SEQPACKET socket /.codapi/socket. Numbers are little-endian. The worker
 * sends, in messages of at most 65,536 bytes:
 *
 *	RUN	u8 'R', u8 0, u16 arguments (1 to 1,024), u16 variables (to 1,024); then, each with a NUL at its end:
 *		user (name, uid, name:group, uid:gid), the arguments, the variables (NAME=value). With three
 *		descriptors: stdin, stdout, stderr. Starts a program; only while none runs. init holds stdout and
 *		stderr until its answer, so that only the answer wakes the worker, not the ends of the pipes.
 *	PRELOAD	u8 'P', then as RUN, with the descriptors of the next run, which init keeps. Starts a program that waits
 *		for that run; only while none runs or waits. The next RUN either has descriptors of its own, or
 *		none: then it gets those of the PRELOAD, and goes on in the program that waits, if its user, variables
 *		and argv[0] are the same. In any other case the program that waits is killed.
 *	KILL	u8 'K'. Kills the current run or reset, or what waits, if any; that is answered as usual.
 *	RESET	u8 'C'. Deletes what the last run's user left, and checks that nothing is left; only while none runs.
 *		Kills what waits.
 *
 * Anything else is an error: init exits, as it does when the connection is closed, and the whole box dies with it.
 * Every answer has the 40 bytes of `struct answer`:
 *
 *	HELLO	'H', once, at first. value: version of the protocol.
 *	FAULT	'F', instead of HELLO; then init exits. value: an errno.
 *	WAITS	'P', for a PRELOAD. how: 3, the program waits; 0 to 2 as in DONE, it is over, maybe after it has waited.
 *		wall: ns since its start; memory: KiB of memory of the box that the kernel cannot drop, all bits set if unknown;
 *		oom_kills as in DONE. There is none if a RUN or RESET ends it.
 *	DONE	'D', for a RUN. how: 0, value is the exit code; 1, value is a signal; 2, the program could not be
 *		started: stage, value; 4 more than 0 or 1, the box is as new and needs no RESET; 8 more than 0 or 1, the
 *		program had waited. wall, processor: ns of the run; memory: KiB, largest resident set of one process;
 *		oom_kills: processes that the kernel killed for the box's memory limit in the run; all bits of
 *		processor and oom_kills are set if the cgroup has no such counter. All processes of the run are dead.
 *	CLEAN	'C', for a RESET. stage: STAGE_NONE if the box is as new; else discard it. wall: ns.
 *
 * The program. It gets the variables of the box (those that Docker gave init, which are the image's), under those of
 * the message; HOME is the one in passwd unless the message has one. The working directory, the limits, the umask and
 * no-new-privileges are init's own. It leads a new session. PATH is searched as by runc. When the first process of
 * a run exits, the others are killed, as at the end of a container.
 *
 * The program that waits. A PRELOAD starts it in the same way, with two descriptors more. What it writes to 1 and 2
 * before it is ready is lost, and blocks it beyond 64 KiB: it should lead them to /dev/null meanwhile. When it is ready,
 * it writes one byte to 4 and closes it. From 3 it reads, up to the end, the arguments of the run, each with a NUL at its
 * end (none at all: it should exit), and closes it. Then it does what they ask for, in the same process.
 *
 * init does not stay uid 0: a step that runs as root could change its limits, and with SETUID trace it. Its real and
 * effective ids differ: a process must match all three to be allowed that, and none can. Only root with SYS_PTRACE or
 * SYS_ADMIN could still take it over: such boxes run without init.
 */
#define _GNU_SOURCE
#include "clean.h"
#include "execute.h"
#include "identity.h"
#include "kill.h"
#include "measure.h"
#include "parse.h"
#include "plain.h"
#include "preload.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define VERSION 3
#define FILE_MAX 262144 /* bytes of passwd or group */
#define UNKNOWN UINT64_MAX
#define TURN 10000000	/* ns */
#define REAPS_MAX 256	/* zombies reaped between two polls of the connection */

struct answer {
	uint8_t type, how;
	uint16_t stage;
	int32_t value;
	uint64_t wall, processor, memory, oom_kills;
};
_Static_assert(sizeof(struct answer) == 40, "layout of the protocol");

enum how { HOW_EXIT, HOW_SIGNAL, HOW_NOT_STARTED, HOW_WAITS, HOW_CLEAN = 4, HOW_PRELOADED = 8 };

/* Why a run or a reset fails; shared with its child until that executes the program. */
struct word {
	enum stage stage;
	int error;
};

extern char **environ;

static int connection = -1, children = -1, processor_file = -1, memory_file = -1, size_file = -1;
static bool v2; /* of cgroups */
static volatile struct word *word;
static struct identity user; /* of the last run or preload */
static struct preload preload = {.go = -1, .ready = -1, .files = {-1, -1, -1}};

static struct { /* the current run or reset; pid is 0 if there is none */
	pid_t pid;
	char type;
	uint64_t start, end, processor, oom_kills, memory;
	int status, outputs[2];
	bool preloaded;
} run;

static void answer(struct answer answer)
{
	if (send(connection, &answer, sizeof(answer), MSG_NOSIGNAL) != sizeof(answer))
		_exit(1);
}

static void fail(const char *what)
{
	struct answer fault = {.type = 'F', .stage = STAGE_SYSTEM, .value = errno};
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

/* Opens the counters of the box's cgroup, v2 or v1. In v2 it is never the root cgroup, so it has cgroup.events, and it
 * may have no memory controller. */
static void open_counters(void)
{
	v2 = access("/sys/fs/cgroup/cgroup.events", F_OK) == 0;
	memory_file = open(v2 ? "/sys/fs/cgroup/memory.events" : "/sys/fs/cgroup/memory/memory.oom_control",
			   O_RDONLY | O_CLOEXEC);
	processor_file = open(v2 ? "/sys/fs/cgroup/cpu.stat" : "/sys/fs/cgroup/cpuacct/cpuacct.usage",
			      O_RDONLY | O_CLOEXEC);
	size_file = open(v2 ? "/sys/fs/cgroup/memory.stat" : "/sys/fs/cgroup/memory/memory.stat", O_RDONLY | O_CLOEXEC);
}

/* What a counter has counted since it was at `before`. */
static uint64_t count(int file, const char *key, uint64_t before)
{
	char buffer[1024];
	uint64_t number;
	ssize_t n = file < 0 || before == UNKNOWN ? -1 : pread(file, buffer, sizeof(buffer), 0);
	if (n < 0 || !parse_count((struct text){buffer, (size_t)n}, key, &number))
		return UNKNOWN;
	return number - before;
}

static uint64_t processor_time(uint64_t before)
{
	return count(processor_file, v2 ? "usage_usec " : "", before);
}

static uint64_t oom_kills(uint64_t before)
{
	return count(memory_file, "\noom_kill ", before);
}

/* Files in memory (tmpfs) and shared memory included: like anonymous memory, the kernel cannot drop them. */
static uint64_t anonymous_memory(void)
{
	uint64_t anonymous = count(size_file, v2 ? "anon " : "\nrss ", 0), shared = count(size_file, "\nshmem ", 0);
	return anonymous == UNKNOWN || shared == UNKNOWN ? anonymous : anonymous + shared;
}

static void say(enum stage stage, int error)
{
	word->error = error;
	word->stage = stage;
}

/* Asks, for this process and its children, for time slices of that many ns; 0: the kernel's own. It has no effect before
 * Linux 6.12, or where a seccomp profile forbids it. */
static void take_turns(uint64_t length)
{
	struct { /* of sched_setattr(2), in its first version */
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t runtime, deadline, period;
	} wanted = {.size = sizeof(wanted), .policy = SCHED_OTHER, .runtime = length};

	wanted.nice = getpriority(PRIO_PROCESS, 0);
	syscall(SYS_sched_setattr, 0, &wanted, 0);
}

/* In the child of a run or preload; `ends` become the descriptors from 0 on. They are not among these: init has others
 * there. */
static void run_program(struct run *request, const int ends[], int count)
{
	static char *env[ENV_MAX + 1];
	bool opened = true;

	clean_times();
	for (int i = 0; i < count && opened; i++)
		opened = dup2(ends[i], i) == i;
	if (!opened)
		say(STAGE_SYSTEM, errno);
	else if (!parse_env(request->env, environ, user.home, env))
		say(STAGE_SYSTEM, E2BIG);
	else
		say(STAGE_EXEC, execute(request->argv, env));
	_exit(127);
}

/* In the child of a reset. */
static void run_reset(void)
{
	int error;
	enum stage stage = clean_box(&error);
	say(stage, error);
	_exit(0);
}

/* Forks, unless `word` holds a reason not to. Returns -1, with a reason in `word`, if there is no child. The child runs
 * as `user` and has no access to the connection. */
static pid_t spawn(void)
{
	sigset_t none;
	pid_t pid = word->stage == STAGE_NONE ? fork() : -1;

	if (pid < 0 && word->stage == STAGE_NONE)
		say(STAGE_SYSTEM, errno);
	if (pid != 0)
		return pid;
	close(connection);
	sigemptyset(&none);
	if (setsid() < 0 || sigprocmask(SIG_SETMASK, &none, NULL) != 0 || !identity_become(&user)) {
		say(STAGE_SYSTEM, errno);
		_exit(127);
	}
	return 0;
}

static void begin(char type)
{
	memset(&run, 0, sizeof(run));
	run.type = type;
	/* nothing reads the counters of a reset */
	run.processor = type == 'R' ? processor_time(0) : UNKNOWN;
	run.oom_kills = type == 'R' ? oom_kills(0) : UNKNOWN;
	run.start = now();
}

/* Begins a run or a reset, which has already failed if `word` holds a reason. True in its child. */
static bool start(char type)
{
	begin(type);
	run.pid = spawn();
	if (run.pid < 0)
		run.end = run.start;
	return run.pid == 0;
}

static bool reap(int options)
{
	struct rusage usage;
	int status;
	pid_t pid = wait4(-1, &status, options | __WALL, &usage);

	if (pid <= 0)
		return false;
	if ((uint64_t)usage.ru_maxrss > run.memory)
		run.memory = (uint64_t)usage.ru_maxrss;
	if (pid == run.pid) {
		run.status = status;
		run.end = now();
	}
	if (pid == preload.pid) {
		preload.status = status;
		preload.over = true;
	}
	return true;
}

/* Kills all processes in the box and reaps them. A process with a pending kill cannot fork, so that one round is enough
 * for any fork storm; the second kill proves it. Processes that are not init's children (docker exec) are reaped
 * elsewhere. */
static void kill_all(void)
{
	while (kill(-1, SIGKILL) == 0) {
		while (reap(0))
			;
		if (kill(-1, 0) == 0)
			nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
}

/* Says in `answer` how a program ended, or why it did not start; forgets that reason. */
static void tell_end(struct answer *done, int status)
{
	done->stage = (uint16_t)word->stage;
	if (word->stage != STAGE_NONE) {
		done->how = HOW_NOT_STARTED;
		done->value = word->error;
	} else {
		done->how = WIFEXITED(status) ? HOW_EXIT : HOW_SIGNAL;
		done->value = WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status);
	}
	say(STAGE_NONE, 0);
}

static void finish(void)
{
	kill_all();
	struct answer done = {
		.type = run.type == 'R' ? 'D' : 'C',
		.wall = run.end - run.start,
		.processor = processor_time(run.processor),
		.memory = run.memory,
		.oom_kills = oom_kills(run.oom_kills),
	};
	if (v2 && done.processor != UNKNOWN)
		done.processor *= 1000; /* v2 counts µs, v1 ns */
	tell_end(&done, run.status);
	if (done.type == 'C' && done.how == HOW_SIGNAL)
		done.stage = STAGE_CRASH;
	if (done.type == 'D' && done.how != HOW_NOT_STARTED) {
		done.how |= run.preloaded ? HOW_PRELOADED : 0;
		done.how |= is_clean(user.uid) ? HOW_CLEAN : 0;
	}
	run.pid = 0;
	answer(done);
	for (int i = 0; i < 2 && done.type == 'D'; i++)
		close(run.outputs[i]);
}

/* Ends what waits, with all that it started. */
static void end_preload(bool tell)
{
	if (preload.pid == 0)
		return;
	kill_all();
	struct answer done = {
		.type = 'P', .wall = now() - preload.start, .memory = UNKNOWN, .oom_kills = oom_kills(preload.oom_kills)};
	tell_end(&done, preload.status);
	preload_close(&preload);
	preload.pid = 0;
	preload.over = false;
	if (tell)
		answer(done);
}

/* Reads at the descriptor of a program whether it waits. */
static void hear_preload(void)
{
	char byte;

	preload.waits = read(preload.ready, &byte, 1) == 1;
	close(preload.ready);
	preload.ready = -1;
	if (!preload.waits) {
		end_preload(true);
		return;
	}
	uint64_t memory = anonymous_memory();
	answer((struct answer){.type = 'P',
			       .how = HOW_WAITS,
			       .wall = now() - preload.start,
			       .memory = memory == UNKNOWN ? memory : memory / 1024});
}

/* Finds the user of the next run, or puts the reason into `word`. */
static void find_user(const char *spec)
{
	static char passwd[FILE_MAX], group[FILE_MAX];
	struct text users = read_text("/etc/passwd", passwd, FILE_MAX);
	struct text groups = read_text("/etc/group", group, FILE_MAX);
	if (users.length == FILE_MAX || groups.length == FILE_MAX)
		say(STAGE_SYSTEM, EFBIG);
	else
		say(parse_user(spec, users, groups, &user), 0);
	if (word->stage == STAGE_NONE && !identity_avoid(&user))
		say(STAGE_SYSTEM, errno);
}

static void start_preload(void)
{
	int ends[5] = {preload.files[0], preload.files[1], preload.files[2], -1, -1};

	preload.waits = false;
	preload.start = now();
	preload.oom_kills = oom_kills(0);
	find_user(preload.request.user);
	if (word->stage == STAGE_NONE && !preload_open(&preload, ends + 3))
		say(STAGE_SYSTEM, errno);
	preload.pid = spawn();
	if (preload.pid == 0) {
		take_turns(0); /* nobody waits for it, and others do not have to */
		run_program(&preload.request, ends, 5);
	}
	for (int i = 3; i < 5; i++)
		if (ends[i] >= 0)
			close(ends[i]);
	if (preload.pid < 0)
		end_preload(true);
}

/* Lets what waits go on as a run, if it can. */
static bool go_on(const struct run *request)
{
	begin('R');
	if (preload.pid == 0 || !preload.waits || !preload_fits(&preload, request) || !preload_go(&preload, request))
		return false;
	run.pid = preload.pid;
	run.preloaded = true;
	preload.pid = 0;
	preload_close(&preload);
	return true;
}

/* Keeps these descriptors for the next run instead of others. */
static void keep(const int files[3])
{
	for (int i = 0; i < 3; i++) {
		if (preload.files[i] >= 0)
			close(preload.files[i]);
		preload.files[i] = files[i];
	}
}

/* Starts a run with these descriptors, or with those of the preload if there are none. */
static void start_run(struct run *request, const int given[3])
{
	const int none[3] = {-1, -1, -1};
	int files[3];

	memcpy(files, given[0] < 0 ? preload.files : given, sizeof(files));
	if (given[0] >= 0 || !go_on(request)) {
		end_preload(false);
		find_user(request->user);
		if (start('R'))
			run_program(request, files, 3);
	}
	if (given[0] < 0)
		memcpy(preload.files, none, sizeof(none));
	keep(none);
	run.outputs[0] = files[1];
	run.outputs[1] = files[2];
	close(files[0]);
}

static void take_message(void)
{
	static char message[MESSAGE_MAX];
	static struct run request;
	int files[3] = {-1, -1, -1};
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(files))];
	} control;
	struct iovec part = {message, sizeof(message)};
	struct msghdr header = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	ssize_t length = recvmsg(connection, &header, MSG_CMSG_CLOEXEC);
	struct cmsghdr *files_part = CMSG_FIRSTHDR(&header);

	if (length <= 0)
		_exit(0); /* the worker is gone; the kernel kills the others */
	if (files_part && files_part->cmsg_len == CMSG_LEN(sizeof(files)))
		memcpy(files, CMSG_DATA(files_part), sizeof(files));
	bool plain = length == 1 && !files_part, busy = run.pid != 0, kept = preload.files[0] >= 0;
	bool full = files[0] > 2 && files[1] > 2 && files[2] > 2;
	if (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		_exit(1);
	} else if (plain && *message == 'K') {
		if (busy)
			finish();
		else
			end_preload(true);
	} else if (plain && *message == 'C' && !busy) {
		end_preload(false);
		if (start('C'))
			run_reset();
	} else if (*message == 'P' && full && !busy && preload.pid == 0 &&
		   parse_run(memcpy(preload.message, message, (size_t)length), (size_t)length, &preload.request)) {
		keep(files);
		start_preload();
	} else if (*message == 'R' && (full || (kept && !files_part)) && !busy &&
		   parse_run(message, (size_t)length, &request)) {
		start_run(&request, files);
	} else {
		_exit(1);
	}
}

static void serve(void)
{
	struct pollfd polls[] = {{connection, POLLIN, 0}, {children, POLLIN, 0}, {-1, POLLIN, 0}};
	struct signalfd_siginfo signal;

	for (bool more = false;;) {
		polls[2].fd = preload.ready;
		if (poll(polls, 3, more ? 0 : -1) < 0)
			continue;
		if (polls[2].revents)
			hear_preload();
		if (polls[0].revents)
			take_message();
		if (polls[1].revents)
			(void)!read(children, &signal, sizeof(signal));
		int reaped = 0;
		while (reaped < REAPS_MAX && reap(WNOHANG))
			reaped++;
		more = reaped == REAPS_MAX;
		if (run.pid != 0 && run.end != 0)
			finish();
		if (preload.over)
			end_preload(true);
	}
}

static int box(const char *own, const char *work_directory)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/.codapi/socket"};
	sigset_t child;

	if (getpid() != 1) {
		fprintf(stderr, "init: this is not process 1 of a box\n");
		return 2;
	}
	connection = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (connect(connection, (struct sockaddr *)&address, sizeof(address)) != 0) {
		close(connection);
		connection = -1;
		fail(address.sun_path);
	}
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	word = mmap(NULL, sizeof(*word), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	children = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	if (word == MAP_FAILED || children < 0 || sigprocmask(SIG_BLOCK, &child, NULL) != 0)
		fail("start");
	open_counters();
	/* most programs end within one: frequent preemption evicts a program's cache lines; a process that mostly
	 * sleeps, as the server does, may interrupt it */
	take_turns(TURN);
	clean_start(work_directory);
	if (!identity_leave_root(strtoull(own, NULL, 16)))
		fail("leave uid 0");
	answer((struct answer){.type = 'H', .value = VERSION});
	serve();
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "box") == 0)
		return box(argv[2], argv[3]);
	if (argc == 3 && strcmp(argv[1], "remove") == 0)
		return clean_path(argv[2]);
	if (argc >= 4 && strcmp(argv[1], "plain") == 0)
		return plain(strcmp(argv[2], "1") == 0, argv + 3);
	if (argc >= 4 && strcmp(argv[1], "service") == 0)
		return service(strcmp(argv[2], "1") == 0, argv + 3, "/.codapi");
	if (argc == 4 && strcmp(argv[1], "measure") == 0)
		return measure_path(argv[3], strtoull(argv[2], NULL, 10));
	if (argc == 4 && strcmp(argv[1], "kill") == 0)
		return kill_family(argv[2], argv[3]);
	if (argc == 4 && strcmp(argv[1], "kill-group") == 0)
		return kill_group(argv[2], argv[3]);
	fprintf(stderr, "usage: init box CAPS DIR | plain WAIT ARG... | service WAIT ARG... | remove DIR | measure BYTES DIR | "
			"kill PID ID | kill-group GID ID\n");
	return 2;
}
