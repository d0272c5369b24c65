/* What a stand-in for cuDNN 9 must answer.
 *
 * It has one engine for convolutions, which takes tensor cores where STANDIN_TENSOR_CORES is set.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
void standin_log(const char *);
int standin_handle(void *);
size_t cudnnGetVersion(void) { return 91400; }
size_t cudnnGetCudartVersion(void) { return 13000; }
const char *cudnnGetErrorString(int status) { return "status"; }
void cudnnGetLastErrorString(char *message, size_t size) { if (size) *message = 0; }
int cudnnCreate(void *p) { return standin_handle(p); }
int cudnnCreateTensorDescriptor(void *p) { return standin_handle(p); }
int cudnnCreatePoolingDescriptor(void *p) { return standin_handle(p); }
int cudnnCreateLRNDescriptor(void *p) { return standin_handle(p); }
int cudnnCreateActivationDescriptor(void *p) { return standin_handle(p); }
int cudnnCreateFilterDescriptor(void *p) { return standin_handle(p); }
int cudnnCreateConvolutionDescriptor(void *p) { return standin_handle(p); }
int cudnnGetStream(void *handle, void **stream) { *stream = 0; return 0; }
int cudnnSetConvolutionMathType(void *descriptor, int type) {
    char call[64];
    snprintf(call, sizeof call, "cudnnSetConvolutionMathType %d", type);
    standin_log(call);
    return 0;
}

/* Numbers of cudnn_backend.h; the only engine is number 0 of every graph. */
enum { INT64 = 3, INT32 = 23, NUMERICAL_NOTE = 1303, BEHAVIOR_NOTE = 1305, TENSOR_CORE = 0 };
int cudnnBackendCreateDescriptor(int kind, void *result) { return standin_handle(result); }
int cudnnBackendGetAttribute(void *d, int name, int type, int64_t wanted, int64_t *count, void *values) {
    int has_note = name == NUMERICAL_NOTE && getenv("STANDIN_TENSOR_CORES") != 0;
    if (count) *count = has_note || (name != NUMERICAL_NOTE && name != BEHAVIOR_NOTE);
    if (has_note && values) *(int *)values = TENSOR_CORE;
    if (values && type == INT64) *(int64_t *)values = 0;
    if (values && type == INT32) *(int32_t *)values = 0;
    return 0;
}
