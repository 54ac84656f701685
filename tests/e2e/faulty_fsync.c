/* Preloaded into a node: its fsync and fdatasync fail with EIO as soon as the file FAIL_FSYNC_OF/<pid> exists. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static int must_fail(void) {
    const char *directory = getenv("FAIL_FSYNC_OF");
    char path[4096];
    if (directory == NULL) return 0;
    snprintf(path, sizeof path, "%s/%ld", directory, (long)getpid());
    return access(path, F_OK) == 0;
}

static int sync_or_fail(long call, int fd) {
    if (must_fail()) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(call, fd);
}

int fsync(int fd) { return sync_or_fail(SYS_fsync, fd); }
int fdatasync(int fd) { return sync_or_fail(SYS_fdatasync, fd); }
