/* A stand-in for CUDA's runtime: it keeps no device, its memory is the host's, and kernels do nothing.
 *
 * Calls are written to the file that STANDIN_LOG names. STANDIN_DEVICES is the number of GPUs, STANDIN_FAILURE
 * the number of the error that every question for a GPU meets, STANDIN_LARGEST the largest allocation in bytes;
 * with STANDIN_UNREGISTERED no memory of others is page-locked.
 */
#include <driver_types.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void standin_log(const char *call) {
    static int file = -2;
    char line[512];
    if (file == -2) file = getenv("STANDIN_LOG") ? open(getenv("STANDIN_LOG"), O_WRONLY | O_APPEND | O_CREAT, 0600) : -1;
    if (file >= 0 && write(file, line, snprintf(line, sizeof line, "%s\n", call)) < 0) abort();
}

/* A handle that no two callers share. */
int standin_handle(void *result) {
    static long last = 0x1000;
    *(long *)result = __sync_add_and_fetch(&last, 64);
    return 0;
}

static long setting(const char *name, long otherwise) { return getenv(name) ? atol(getenv(name)) : otherwise; }

/* Devices */
static __thread int current;
int cudaGetDeviceCount(int *count) {
    *count = setting("STANDIN_DEVICES", 1);
    return setting("STANDIN_FAILURE", 0);
}
int cudaGetDevice(int *device) { *device = current; return 0; }
int cudaSetDevice(int device) {
    if (setting("STANDIN_FAILURE", 0)) return setting("STANDIN_FAILURE", 0);
    if (device >= setting("STANDIN_DEVICES", 1)) return cudaErrorInvalidDevice;
    current = device;
    return 0;
}
int cudaGetDeviceProperties(struct cudaDeviceProp *p, int device) {
    memset(p, 0, sizeof *p);
    strcpy(p->name, "stand-in");
    p->major = 9;
    p->totalGlobalMem = 80ul << 30;
    p->warpSize = 32;
    p->multiProcessorCount = 132;
    p->sharedMemPerBlock = 48 << 10;
    p->sharedMemPerBlockOptin = p->sharedMemPerMultiprocessor = 227 << 10;
    p->regsPerBlock = p->regsPerMultiprocessor = 65536;
    p->maxThreadsPerBlock = p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024;
    p->maxThreadsDim[2] = 64;
    p->maxThreadsPerMultiProcessor = 2048;
    p->maxBlocksPerMultiProcessor = 32;
    p->maxGridSize[0] = 0x7fffffff;
    p->maxGridSize[1] = p->maxGridSize[2] = 65535;
    p->l2CacheSize = 50 << 20;
    return 0;
}
int cudaDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == cudaDevAttrComputeCapabilityMajor      ? 9
             : attribute == cudaDevAttrComputeCapabilityMinor    ? 0
             : attribute == cudaDevAttrMultiProcessorCount       ? 132
             : attribute == cudaDevAttrMaxThreadsPerBlock        ? 1024
             : attribute == cudaDevAttrWarpSize                  ? 32
             : attribute == cudaDevAttrMaxSharedMemoryPerBlock   ? 48 << 10
                                                                 : 1;
    return 0;
}
int cudaDriverGetVersion(int *version) { *version = 13000; return 0; }
int cudaRuntimeGetVersion(int *version) { *version = 13000; return 0; }
const char *cudaGetErrorName(int error) { return "error"; }
const char *cudaGetErrorString(int error) {  /* CUDA's own words */
    return error == cudaErrorInsufficientDriver   ? "CUDA driver version is insufficient for CUDA runtime version"
           : error == cudaErrorNoDevice           ? "no CUDA-capable device is detected"
           : error == cudaErrorMemoryAllocation   ? "out of memory"
                                                  : "unknown error";
}

/* Memory */
static int allocate(void **result, size_t size) {
    if (size > (size_t)setting("STANDIN_LARGEST", 1l << 40)) return cudaErrorMemoryAllocation;
    return posix_memalign(result, 512, size ? size : 1) ? cudaErrorMemoryAllocation : 0;
}
static struct { char *begin, *end; } pinned[4096];
static int pin(void **result, size_t size) {
    int error = posix_memalign(result, 512, size ? size : 1) ? cudaErrorMemoryAllocation : 0;
    for (int i = 0; i < 4096 && !error; i++)
        if (!pinned[i].begin) { pinned[i].end = (char *)*result + size; pinned[i].begin = *result; break; }
    return error;
}
int cudaHostRegister(void *p, size_t size, unsigned flags) {
    if (setting("STANDIN_UNREGISTERED", 0)) return cudaErrorNotSupported;
    for (int i = 0; i < 4096; i++)
        if (!pinned[i].begin) { pinned[i].end = (char *)p + size; pinned[i].begin = p; return 0; }
    return cudaErrorMemoryAllocation;
}
int cudaHostUnregister(void *p) {
    for (int i = 0; i < 4096; i++) if (pinned[i].begin == p) pinned[i].begin = pinned[i].end = 0;
    return 0;
}
static int is_pinned(const void *p) {
    for (int i = 0; i < 4096; i++) if ((char *)p >= pinned[i].begin && (char *)p < pinned[i].end) return 1;
    return 0;
}
int cudaMalloc(void **result, size_t size) { return allocate(result, size); }
int cudaMallocFromPoolAsync(void **result, size_t size, void *pool, void *stream) { return allocate(result, size); }
int cudaMallocHost(void **result, size_t size) { return pin(result, size); }
int cudaHostAlloc(void **result, size_t size, unsigned flags) { return pin(result, size); }
int cudaFree(void *p) { free(p); return 0; }
int cudaFreeAsync(void *p, void *stream) { free(p); return 0; }
int cudaFreeHost(void *p) {
    for (int i = 0; i < 4096; i++) if (pinned[i].begin == p) pinned[i].begin = pinned[i].end = 0;
    free(p);
    return 0;
}
int cudaMemGetInfo(size_t *available, size_t *total) { *available = 78ul << 30; *total = 80ul << 30; return 0; }
int cudaPointerGetAttributes(struct cudaPointerAttributes *a, const void *p) { memset(a, 0, sizeof *a); return 0; }
static int copy(const char *name, void *to, const void *from, size_t size, int kind) {
    char call[128];
    const void *host = kind == cudaMemcpyHostToDevice ? from : to;
    const char *way = kind == cudaMemcpyHostToDevice ? "to device" : kind == cudaMemcpyDeviceToHost ? "to host" : "within";
    const char *memory = kind == cudaMemcpyDeviceToDevice ? "" : is_pinned(host) ? " pinned" : " pageable";
    snprintf(call, sizeof call, "%s %s%s", name, way, memory);
    standin_log(call);
    memcpy(to, from, size);
    return 0;
}
int cudaMemcpy(void *to, const void *from, size_t size, int kind) { return copy("cudaMemcpy", to, from, size, kind); }
int cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, void *stream) {
    return copy("cudaMemcpyAsync", to, from, size, kind);
}
int cudaMemset(void *p, int value, size_t size) { memset(p, value, size); return 0; }
int cudaMemsetAsync(void *p, int value, size_t size, void *stream) { memset(p, value, size); return 0; }

/* Streams, events, kernels */
int cudaStreamCreate(void *result) { return standin_handle(result); }
int cudaStreamCreateWithFlags(void *result, unsigned flags) { return standin_handle(result); }
int cudaEventCreate(void *result) { return standin_handle(result); }
int cudaEventCreateWithFlags(void *result, unsigned flags) { return standin_handle(result); }
int cudaMemPoolCreate(void *result, void *properties) { return standin_handle(result); }
int cudaStreamIsCapturing(void *stream, int *capturing) { *capturing = 0; return 0; }
int cudaFuncGetAttributes(struct cudaFuncAttributes *a, const void *f) {
    memset(a, 0, sizeof *a);
    a->maxThreadsPerBlock = 1024;
    return 0;
}
int cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, const void *f, int b, size_t s, unsigned g) {
    *blocks = 2;
    return 0;
}
int cudaGetDriverEntryPointByVersion(const char *n, void **p, unsigned v, unsigned long long f, int *s) {
    *p = 0;
    if (s) *s = 1;
    return 0;
}
void **__cudaRegisterFatBinary(void *binary) { static void *handle[4]; return handle; }
void __cudaRegisterFunction() {}  /* called for each of some 10,000 kernels: not written down */
void __cudaRegisterVar() {}
int __cudaPopCallConfiguration(void *grid, void *block, size_t *shared, void *stream) {
    memset(grid, 0, 12);
    memset(block, 0, 12);
    *shared = 0;
    *(void **)stream = 0;
    return 0;
}
int __cudaPushCallConfiguration() { return 0; }
int __cudaGetKernel(void **kernel, const void *function) { *kernel = (void *)function; return 0; }
