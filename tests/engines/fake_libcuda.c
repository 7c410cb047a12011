/* libcuda's calls on host memory: what regkd_edge/engines/gpu.py needs, for tests on a machine without a GPU.
   live counts allocations, streams and context holds that were not given back; devices is what cuDeviceGetCount says. */
#include <stdlib.h>
#include <string.h>

int live = 0, devices = 1, fail_init = 0;

int cuInit(unsigned flags) { return flags != 0 ? 1 : fail_init; }
int cuDriverGetVersion(int *v) { *v = 13020; return 0; }
int cuDeviceGetCount(int *n) { *n = devices; return 0; }
int cuDeviceGet(int *d, int i) { *d = 40 + i; return i < devices ? 0 : 101; }
int cuDeviceGetName(char *name, int size, int d) { strncpy(name, d == 40 ? "Stub GPU" : "?", size); return 0; }
int cuDeviceGetAttribute(int *v, int what, int d) { *v = what == 75 ? 8 : what == 76 ? 7 : -1; return d == 40 ? 0 : 101; }
int cuGetErrorString(int code, const char **text) { *text = code == 999 ? "unknown failure" : "invalid value"; return 0; }
int cuDevicePrimaryCtxRetain(void **c, int d) { *c = (void *)0x77; live++; return d == 40 ? 0 : 101; }
int cuDevicePrimaryCtxRelease_v2(int d) { live--; return d == 40 ? 0 : 101; }
int cuCtxSetCurrent(void *c) { return c == (void *)0x77 ? 0 : 1; }
int cuStreamCreate(void **s, unsigned flags) { *s = (void *)0x1234567890; live++; return flags == 1 ? 0 : 1; }
int cuStreamSynchronize(void *s) { return s == (void *)0x1234567890 ? 0 : 1; }
int cuStreamDestroy_v2(void *s) { live--; return s == (void *)0x1234567890 ? 0 : 1; }
int cuMemAlloc_v2(void **p, size_t n) { *p = malloc(n); live++; return 0; }
int cuMemFree_v2(void *p) { free(p); live--; return 0; }
int cuMemAllocHost_v2(void **p, size_t n) { *p = malloc(n); live++; return 0; }
int cuMemFreeHost(void *p) { free(p); live--; return 0; }
int cuMemcpyHtoDAsync_v2(void *d, const void *h, size_t n, void *s) { memcpy(d, h, n); return s == (void *)0x1234567890 ? 0 : 1; }
int cuMemcpyDtoHAsync_v2(void *h, const void *d, size_t n, void *s) { memcpy(h, d, n); return s == (void *)0x1234567890 ? 0 : 1; }
