/* Preloaded into a node: its fsync and fdatasync fail with EIO while the file FAULTY_FSYNC/<pid>.fails exists, and
 * take so many milliseconds longer as the file FAULTY_FSYNC/<pid>.slow says. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static int told(const char *what, char *path, size_t room) {
    const char *directory = getenv("FAULTY_FSYNC");
    if (directory == NULL) return 0;
    snprintf(path, room, "%s/%ld.%s", directory, (long)getpid(), what);
    return access(path, F_OK) == 0;
}

static void wait_if_slow(void) {
    char path[4096];
    long ms = 0;
    if (!told("slow", path, sizeof path)) return;
    FILE *file = fopen(path, "r");
    if (file == NULL) return;
    if (fscanf(file, "%ld", &ms) != 1) ms = 0;
    fclose(file);
    usleep((useconds_t)ms * 1000);
}

static int sync_or_fail(long call, int fd) {
    char path[4096];
    wait_if_slow();
    if (told("fails", path, sizeof path)) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(call, fd);
}

int fsync(int fd) { return sync_or_fail(SYS_fsync, fd); }
int fdatasync(int fd) { return sync_or_fail(SYS_fdatasync, fd); }
