"""Clocks that jump while a process runs: a library in front of the C library moves them for one process."""

import mmap
import os
import shutil
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from support.lacking import lack

_SOURCE: Final = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

static volatile long long *offsets; /* seconds: wall clock, boot clock */

__attribute__((constructor)) static void begin(void) {
  const char *name = getenv("CLOCK_OFFSETS");
  int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
  void *found = file < 0 ? MAP_FAILED : mmap(0, 16, PROT_READ, MAP_SHARED, file, 0);
  if (found != MAP_FAILED) offsets = found;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  int failed = real(clock, now);
  if (!failed && offsets) {
    if (clock == CLOCK_REALTIME) now->tv_sec += offsets[0];
    if (clock == CLOCK_BOOTTIME) now->tv_sec += offsets[1];
  }
  return failed;
}
"""
_FORMAT: Final = "qq"


class Clocks:
    """The wall clock and the boot clock of the processes that get :attr:`environment`."""

    def __init__(self, directory: Path) -> None:
        """Build the library, or skip the test where there is no C compiler."""
        if (compiler := shutil.which("cc")) is None:
            lack("there is no C compiler here")
        source, library, offsets = (directory / name for name in ("clocks.c", "clocks.so", "offsets"))
        source.write_text(_SOURCE)
        subprocess.run([str(compiler), "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
        offsets.write_bytes(struct.pack(_FORMAT, 0, 0))
        file = os.open(offsets, os.O_RDWR)
        self._map = mmap.mmap(file, struct.calcsize(_FORMAT))
        os.close(file)
        self.environment: Mapping[str, str] = {"LD_PRELOAD": str(library), "CLOCK_OFFSETS": str(offsets)}

    def jump(self, *, wall_s: int = 0, boot_s: int = 0) -> None:
        """Move the clocks by so much, from where they are."""
        wall, boot = struct.unpack(_FORMAT, self._map[:])
        self._map[:] = struct.pack(_FORMAT, wall + wall_s, boot + boot_s)
