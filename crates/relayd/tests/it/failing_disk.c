/* Loaded before the C library: makes the disk fail when a file says so. For tests alone.
 *
 * EMPTYROOM_TEST_DISK names a file; its first letter says what fails from then on:
 * s = every sync with EIO, w = every write to a file with ENOSPC, r = everything that needs more than
 * reading with EROFS, as on a file system that the kernel made read-only. No file: nothing fails.
 */
#define _GNU_SOURCE
#include <stdarg.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static char order(void) {
    static ssize_t (*real)(int, void *, size_t);
    const char *path = getenv("EMPTYROOM_TEST_DISK");
    char letter = 0;
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return 0;
    if (!real) real = (ssize_t (*)(int, void *, size_t))dlsym(RTLD_NEXT, "read");
    if (real(fd, &letter, 1) != 1) letter = 0;
    close(fd);
    return letter;
}

static int on_disk(int fd) {
    struct stat about;
    return fd > STDERR_FILENO && fstat(fd, &about) == 0 && S_ISREG(about.st_mode);
}

/* Whether a write must fail now; errno says how. */
static int fails(void) {
    char letter = order();
    if (letter == 'w') errno = ENOSPC;
    if (letter == 'r') errno = EROFS;
    return letter == 'w' || letter == 'r';
}

#define REAL(name, ...) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))(__VA_ARGS__)

int fsync(int fd) {
    if (order() == 's') { errno = EIO; return -1; }
    return REAL(fsync, fd);
}

int fdatasync(int fd) {
    if (order() == 's') { errno = EIO; return -1; }
    return REAL(fdatasync, fd);
}

ssize_t write(int fd, const void *bytes, size_t count) {
    if (on_disk(fd) && fails()) return -1;
    return REAL(write, fd, bytes, count);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    if (fails()) return -1;
    return REAL(pwrite, fd, bytes, count, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    if (fails()) return -1;
    return REAL(pwrite64, fd, bytes, count, at);
}

static int needs_writing(int flags) {
    return (flags & O_ACCMODE) != O_RDONLY && order() == 'r';
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    if (needs_writing(flags)) { errno = EROFS; return -1; }
    return REAL(open64, path, flags, mode);
}

int unlink(const char *path) {
    if (order() == 'r') { errno = EROFS; return -1; }
    return REAL(unlink, path);
}
