/* Preloaded, it lets the n-th fsync of a process fail: a disk that breaks, or is full. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>

static atomic_int left = 0;
static atomic_int code = 0;

void fail_at(int n, int error) {
    code = error;
    left = n;
}

int still_left(void) {
    return left;
}

static int fails(void) {
    return left > 0 && atomic_fetch_sub(&left, 1) == 1;
}

int fsync(int file) {
    static int (*next)(int) = 0;
    if (!next) next = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    if (fails()) { errno = code; return -1; }
    return next(file);
}

int fdatasync(int file) {
    static int (*next)(int) = 0;
    if (!next) next = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    if (fails()) { errno = code; return -1; }
    return next(file);
}
