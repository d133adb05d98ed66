/*
 * tsbuild-runtime: the OCI command line without Node where that is enough.
 *
 * `state`, `start`, `kill` and `delete` of ordinary containers are answered here, in a millisecond or two. Whatever
 * is not ordinary — other commands and options, hooks, errors — is handed to dist/runtime.js with the same arguments,
 * which does all of it: this program never prints an error that the other one would word better.
 */
#include "../unix-socket.h"
#include "state.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { HAND_OVER = -1 };

static struct container container;

struct call {
	const char *root, *command;
	char **words; /* after the command */
	int count;
};

static const char *const WITH_VALUE[] = { "log", "log-format", "cgroup-manager", "rootless", "criu" };

/* 1 where a global option was understood (and *at moved behind it), 0 where it was not. */
static int take_option(char **argv, int argc, int *at, struct call *call)
{
	const char *word = argv[*at];
	while (*word == '-')
		word++;
	if (!strcmp(word, "debug") || !strcmp(word, "systemd-cgroup")) {
		*at += 1;
		return 1;
	}
	if (!strncmp(word, "root=", 5)) {
		call->root = word + 5;
		*at += 1;
		return 1;
	}
	if (!strcmp(word, "root") && *at + 1 < argc) {
		call->root = argv[*at + 1];
		*at += 2;
		return 1;
	}
	for (unsigned i = 0; i < sizeof WITH_VALUE / sizeof *WITH_VALUE; i++) {
		size_t length = strlen(WITH_VALUE[i]);
		if (strncmp(word, WITH_VALUE[i], length))
			continue;
		if (word[length] == '=' || (word[length] == 0 && *at + 1 < argc)) {
			*at += word[length] == '=' ? 1 : 2;
			return 1;
		}
	}
	return 0;
}

static int read_call(int argc, char **argv, struct call *call)
{
	int at = 1;
	call->root = "/run/tsbuild-runtime";
	while (at < argc && argv[at][0] == '-')
		if (!take_option(argv, argc, &at, call))
			return -1;
	if (at == argc)
		return -1;
	call->command = argv[at];
	call->words = argv + at + 1;
	call->count = argc - at - 1;
	for (int i = 0; i < call->count; i++)
		if (call->words[i][0] == '-')
			return -1;
	return 0;
}

static int print_state(const struct container *c)
{
	static const char *const names[] = { "creating", "created", "running", "paused", "stopped" };
	enum status status = status_of(c);
	printf("%s,\"pid\":%d,\"status\":\"%s\",%s\n", c->head, status == STOPPED ? 0 : c->pid, names[status], c->tail);
	return fflush(stdout) == 0 ? 0 : 1;
}

/* The program's word on its start: nothing but the end is a yes. */
static int start(const struct container *c)
{
	if (status_of(c) != CREATED || c->has_poststart)
		return HAND_OVER;
	int fd = connect_path(file_of(c, "start.sock"), SOCK_STREAM);
	if (fd < 0)
		return HAND_OVER;
	struct {
		uint32_t kind, op, error;
		char text[244];
	} message;
	size_t size = 0;
	for (ssize_t n; size < sizeof message && (n = read(fd, (char *)&message + size, sizeof message - size)) != 0;)
		if (n > 0)
			size += (size_t)n;
		else if (errno != EINTR)
			break;
	close(fd);
	unlink(file_of(c, "start.sock"));
	if (size < sizeof message)
		return 0;
	message.text[sizeof message.text - 1] = 0;
	fprintf(stderr, "unable to start container process: %s: %s\n", message.text, strerror((int)message.error));
	return 1;
}

/* SIGTERM, TERM, 15; 0 where it is none of the usual. */
static int signal_number(const char *text)
{
	char *end;
	long number = strtol(text, &end, 10);
	if (*text && !*end)
		return number > 0 && number <= 64 ? (int)number : 0;
	if (!strncasecmp(text, "SIG", 3))
		text += 3;
	for (int n = 1; n < 32; n++) {
		const char *name = sigabbrev_np(n);
		if (name && !strcasecmp(name, text))
			return n;
	}
	return 0;
}

static int send_signal(const struct container *c, const char *text)
{
	int number = signal_number(text);
	enum status status = status_of(c);
	if (number == 0 || (number == SIGKILL && c->shares_pids) || (status != RUNNING && status != CREATED))
		return HAND_OVER;
	int process = open_process(c);
	if (process < 0)
		return HAND_OVER;
	int done = (int)syscall(SYS_pidfd_send_signal, process, number, NULL, 0);
	close(process);
	return done < 0 ? HAND_OVER : 0;
}

/* The parent that containers without a path of their own have in common goes with the last of them. */
static void remove_default_parent(const char *cgroup)
{
	char parent[PATH_MAX];
	const char *slash = strrchr(cgroup, '/');
	size_t length = slash ? (size_t)(slash - cgroup) : 0;
	if (length == 0 || length >= sizeof parent)
		return;
	memcpy(parent, cgroup, length);
	parent[length] = 0;
	const char *name = strrchr(parent, '/');
	if (name && !strcmp(name, "/tsbuild"))
		rmdir(parent);
}

/* Only what has ended by itself and left empty cgroups: all else is more than removing. */
static int delete(const struct container *c)
{
	if (status_of(c) != STOPPED || c->has_poststop)
		return HAND_OVER;
	for (int i = 0; i < c->cgroups; i++) {
		if (rmdir(c->cgroup[i]) < 0 && errno != ENOENT)
			return HAND_OVER;
		remove_default_parent(c->cgroup[i]);
	}
	static const char *const files[] = { "state", "container.json", "status", "config.json", "start.sock" };
	for (unsigned i = 0; i < sizeof files / sizeof *files; i++)
		unlink(file_of(c, files[i]));
	unlink(file_of(c, "notify/notify"));
	rmdir(file_of(c, "notify"));
	return rmdir(c->directory) < 0 ? HAND_OVER : 0;
}

static int answer(const struct call *call)
{
	const char *command = call->command;
	int is_kill = !strcmp(command, "kill");
	if (call->count < 1 || call->count > (is_kill ? 2 : 1))
		return HAND_OVER;
	int is_ours = is_kill || !strcmp(command, "state") || !strcmp(command, "start") || !strcmp(command, "delete");
	if (!is_ours || read_container(&container, call->root, call->words[0]) < 0)
		return HAND_OVER;
	if (is_kill)
		return send_signal(&container, call->count == 2 ? call->words[1] : "TERM");
	if (!strcmp(command, "state"))
		return print_state(&container);
	return !strcmp(command, "start") ? start(&container) : delete(&container);
}

/* why: Node opens descriptors of its own before its first line, so whoever comes before it must say which are not. */
static void name_descriptors(void)
{
	static char names[8192];
	size_t length = 0;
	for (int fd = 3; fd < 1024; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			length += (size_t)snprintf(names + length, sizeof names - length, "%d,", fd);
	setenv("TSBUILD_RUNTIME_DESCRIPTORS", names, 1);
}

/* Engines and people call it by other names, too (a symlink `runc`); what it prints of itself says that one. */
static void say_name(const char *called)
{
	const char *slash = called ? strrchr(called, '/') : NULL;
	setenv("TSBUILD_RUNTIME_NAME", slash ? slash + 1 : called ? called : "", 1);
}

/* dist/runtime.js lies two directories above this program's. */
static int hand_over(int argc, char **argv)
{
	static char script[PATH_MAX + 32];
	ssize_t n = readlink("/proc/self/exe", script, PATH_MAX);
	for (int up = 0; up < 3 && n > 0; up++) {
		while (n > 0 && script[n - 1] != '/')
			n--;
		n -= up < 2;
	}
	if (n <= 0)
		return 1;
	strcpy(script + n, "dist/runtime.js");
	name_descriptors();
	say_name(argv[0]);
	char **args = calloc((size_t)argc + 2, sizeof *args);
	if (!args)
		return 1;
	args[0] = "node";
	args[1] = script;
	memcpy(args + 2, argv + 1, (size_t)(argc - 1) * sizeof *args);
	execvp("node", args);
	execv(NODE, args);
	fprintf(stderr, "tsbuild-runtime: cannot run node: %s\n", strerror(errno));
	return 1;
}

int main(int argc, char **argv)
{
	struct call call = { 0 };
	int code = read_call(argc, argv, &call) < 0 ? HAND_OVER : answer(&call);
	return code == HAND_OVER ? hand_over(argc, argv) : code;
}
