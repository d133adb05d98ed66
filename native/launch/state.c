#include "state.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void start_time_of(pid_t pid, char text[START_SIZE])
{
	char path[32], stat[1024];
	text[0] = 0;
	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, stat, sizeof stat - 1);
	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return;
	stat[n] = 0;
	/* The name in parentheses may hold anything: fields count from the last one on. */
	char *at = strrchr(stat, ')');
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	size_t length = at ? strspn(at + 1, "0123456789") : 0;
	if (length > 0 && length < START_SIZE) {
		memcpy(text, at + 1, length);
		text[length] = 0;
	}
}

size_t json_string(char *out, size_t size, const char *text, size_t length)
{
	size_t used = 0;
	out[used++] = '"';
	/* The longest escape has six bytes, and the end needs two. */
	for (size_t i = 0; i < length && used + 8 < size; i++) {
		unsigned char c = (unsigned char)text[i];
		if (c == '"' || c == '\\') {
			out[used++] = '\\';
			out[used++] = (char)c;
		} else if (c < 0x20 || c == 0x7f)
			used += (size_t)snprintf(out + used, size - used, "\\u%04x", c);
		else
			out[used++] = (char)c;
	}
	out[used++] = '"';
	out[used] = 0;
	return used;
}

void replace_file(int directory, const char *name, const char *text, size_t size)
{
	char temp[32];
	snprintf(temp, sizeof temp, "%s.tmp", name);
	int fd = openat(directory, temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return;
	ssize_t n = write(fd, text, size);
	close(fd);
	if (n == (ssize_t)size)
		renameat(directory, temp, directory, name);
}

void state_write(int directory, const struct state *state)
{
	char text[4096], error[1900], own[START_SIZE];
	json_string(error, sizeof error, state->error, strlen(state->error));
	size_t n = (size_t)snprintf(text, sizeof text, "{\"status\":\"%s\"", state->status);
	if (state->pid > 0)
		n += (size_t)snprintf(text + n, sizeof text - n, ",\"process\":{\"pid\":%d,\"start\":\"%s\"}", (int)state->pid,
				      state->pid_start);
	start_time_of(getpid(), own);
	if (state->has_monitor)
		n += (size_t)snprintf(text + n, sizeof text - n, ",\"monitor\":{\"pid\":%d,\"start\":\"%s\"}", (int)getpid(), own);
	if (state->started_at[0])
		n += (size_t)snprintf(text + n, sizeof text - n, ",\"startedAt\":\"%s\"", state->started_at);
	if (state->finished_at[0])
		n += (size_t)snprintf(text + n, sizeof text - n, ",\"finishedAt\":\"%s\"", state->finished_at);
	n += (size_t)snprintf(text + n, sizeof text - n, ",\"exitCode\":%d,\"oomKilled\":%s,\"error\":%s,\"restartCount\":%u}\n",
			      state->exit_code, state->oom_killed ? "true" : "false", error, state->restart_count);
	replace_file(directory, "state.json", text, n);
}
