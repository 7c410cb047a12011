/* libcuda's calls on host memory: what regkd_edge/engines/gpu.py needs, for tests on a machine without a GPU.
   live counts allocations, streams, graphs, events and context holds that were not given back; devices is what
   cuDeviceGetCount says. While a stream is captured, copies and the calls that fake_record was given are kept and not
   done; launching the graph does them. launches counts launches. An event's time is the number of copies done so far,
   in ms. */
#include <stdlib.h>
#include <string.h>

int live = 0, devices = 1, fail_init = 0, launches = 0, copies = 0;

typedef struct {
    void (*call)(void);
    void* to;
    const void* from;
    size_t n;
} Step;
typedef struct {
    Step steps[16];
    int count;
} Graph;
static Graph* capturing = 0;
static int copy(void* to, const void* from, size_t n, void* s) {
    if (s != (void*)0x1234567890) return 1;
    if (capturing) {
        capturing->steps[capturing->count++] = (Step){0, to, from, n};
        return 0;
    }
    memcpy(to, from, n);
    copies++;
    return 0;
}
int fake_record(void (*call)(void)) {
    if (!capturing) return 0;
    capturing->steps[capturing->count++] = (Step){call, 0, 0, 0};
    return 1;
}
int cuStreamBeginCapture_v2(void* s, int mode) {
    capturing = calloc(1, sizeof(Graph));
    return mode == 1 && s == (void*)0x1234567890 ? 0 : 1;
}
int cuStreamEndCapture(void* s, void** g) {
    *g = capturing;
    capturing = 0;
    live++;
    return *g ? 0 : 1;
}
int cuGraphInstantiateWithFlags(void** e, void* g, unsigned long long flags) {
    *e = malloc(sizeof(Graph));
    memcpy(*e, g, sizeof(Graph));
    live++;
    return flags ? 1 : 0;
}
int cuGraphLaunch(void* e, void* s) {
    Graph* graph = e;
    launches++;
    for (int i = 0; i < graph->count; i++) {
        Step step = graph->steps[i];
        if (step.call)
            step.call();
        else
            copy(step.to, step.from, step.n, s);
    }
    return 0;
}
int cuGraphExecDestroy(void* e) {
    free(e);
    live--;
    return 0;
}
int cuGraphDestroy(void* g) {
    free(g);
    live--;
    return 0;
}
int cuEventCreate(void** e, unsigned flags) {
    *e = calloc(1, sizeof(int));
    live++;
    return flags ? 1 : 0;
}
int cuEventRecord(void* e, void* s) {
    *(int*)e = copies;
    return s == (void*)0x1234567890 ? 0 : 1;
}
int cuEventElapsedTime(float* ms, void* a, void* b) {
    *ms = *(int*)b - *(int*)a;
    return 0;
}
int cuEventDestroy_v2(void* e) {
    free(e);
    live--;
    return 0;
}

int cuInit(unsigned flags) { return flags != 0 ? 1 : fail_init; }
int cuDriverGetVersion(int* v) {
    *v = 13020;
    return 0;
}
int cuDeviceGetCount(int* n) {
    *n = devices;
    return 0;
}
int cuDeviceGet(int* d, int i) {
    *d = 40 + i;
    return i < devices ? 0 : 101;
}
int cuDeviceGetName(char* name, int size, int d) {
    strncpy(name, d == 40 ? "Stub GPU" : "?", size);
    return 0;
}
int cuDeviceGetAttribute(int* v, int what, int d) {
    *v = what == 75 ? 8 : what == 76 ? 7 : -1;
    return d == 40 ? 0 : 101;
}
int cuGetErrorString(int code, const char** text) {
    *text = code == 999 ? "unknown failure" : "invalid value";
    return 0;
}
int cuDevicePrimaryCtxRetain(void** c, int d) {
    *c = (void*)0x77;
    live++;
    return d == 40 ? 0 : 101;
}
int cuDevicePrimaryCtxRelease_v2(int d) {
    live--;
    return d == 40 ? 0 : 101;
}
int cuCtxSetCurrent(void* c) { return c == (void*)0x77 ? 0 : 1; }
int cuStreamCreate(void** s, unsigned flags) {
    *s = (void*)0x1234567890;
    live++;
    return flags == 1 ? 0 : 1;
}
int cuStreamSynchronize(void* s) { return s == (void*)0x1234567890 ? 0 : 1; }
int cuStreamDestroy_v2(void* s) {
    live--;
    return s == (void*)0x1234567890 ? 0 : 1;
}
int cuMemAlloc_v2(void** p, size_t n) {
    *p = malloc(n);
    live++;
    return 0;
}
int cuMemFree_v2(void* p) {
    free(p);
    live--;
    return 0;
}
int cuMemAllocHost_v2(void** p, size_t n) {
    *p = malloc(n);
    live++;
    return 0;
}
int cuMemFreeHost(void* p) {
    free(p);
    live--;
    return 0;
}
int cuMemcpyHtoDAsync_v2(void* d, const void* h, size_t n, void* s) { return copy(d, h, n, s); }
int cuMemcpyDtoHAsync_v2(void* h, const void* d, size_t n, void* s) { return copy(h, d, n, s); }
