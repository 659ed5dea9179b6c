/* A disk on which a sync takes no less than SLOW_SYNC_US microseconds: preloaded into a process,
 * it makes fsync and fdatasync last as long as on disks without a write-back cache below.
 * It waits in a loop, since the kernel's sleeps are coarser than the times of interest; whoever
 * calls has given the interpreter's lock away. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

static long long now_ns(void) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return at.tv_sec * 1000000000LL + at.tv_nsec;
}

static int synced(const char *name, int fd) {
  const char *wanted = getenv("SLOW_SYNC_US");
  long long end = now_ns() + (wanted ? atoll(wanted) : 0) * 1000;
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
  int result = real(fd);
  while (now_ns() < end) {
  }
  return result;
}

int fsync(int fd) { return synced("fsync", fd); }
int fdatasync(int fd) { return synced("fdatasync", fd); }
