/* Preloaded, it kills a process before its n-th step towards the disk: no step is ever half done
   by our own doing, and every order of them that a crash can leave behind is met. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_int left = 0;

void die_at(int n) { left = n; }

static void step(void) {
    if (left > 0 && atomic_fetch_sub(&left, 1) == 1) kill(getpid(), SIGKILL);
}

static int is_file(int handle) {
    struct stat found;
    return fstat(handle, &found) == 0 && S_ISREG(found.st_mode);
}

#define NEXT(type, name, ...) \
    static type (*next)(__VA_ARGS__) = 0; \
    if (!next) next = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

int fsync(int file) { NEXT(int, "fsync", int); step(); return next(file); }
int fdatasync(int file) { NEXT(int, "fdatasync", int); step(); return next(file); }

int rename(const char *from, const char *to) {
    NEXT(int, "rename", const char *, const char *);
    step();
    return next(from, to);
}

int renameat(int a, const char *from, int b, const char *to) {
    NEXT(int, "renameat", int, const char *, int, const char *);
    step();
    return next(a, from, b, to);
}

int link(const char *from, const char *to) {
    NEXT(int, "link", const char *, const char *);
    step();
    return next(from, to);
}

int linkat(int a, const char *from, int b, const char *to, int flags) {
    NEXT(int, "linkat", int, const char *, int, const char *, int);
    step();
    return next(a, from, b, to, flags);
}

int unlink(const char *path) { NEXT(int, "unlink", const char *); step(); return next(path); }

int unlinkat(int folder, const char *path, int flags) {
    NEXT(int, "unlinkat", int, const char *, int);
    step();
    return next(folder, path, flags);
}

int mkdir(const char *path, mode_t mode) {
    NEXT(int, "mkdir", const char *, mode_t);
    step();
    return next(path, mode);
}

int ftruncate64(int file, off64_t size) {
    NEXT(int, "ftruncate64", int, off64_t);
    step();
    return next(file, size);
}

int ftruncate(int file, off_t size) {
    NEXT(int, "ftruncate", int, off_t);
    step();
    return next(file, size);
}

ssize_t write(int file, const void *from, size_t size) {
    NEXT(ssize_t, "write", int, const void *, size_t);
    if (left > 0 && is_file(file)) step();
    return next(file, from, size);
}

ssize_t pwrite64(int file, const void *from, size_t size, off64_t at) {
    NEXT(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
    step();
    return next(file, from, size, at);
}

ssize_t pwrite(int file, const void *from, size_t size, off_t at) {
    NEXT(ssize_t, "pwrite", int, const void *, size_t, off_t);
    step();
    return next(file, from, size, at);
}
