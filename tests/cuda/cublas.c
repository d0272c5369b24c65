/* What a stand-in for cuBLAS must answer; that of all other functions is success. */
#include <stdio.h>
void standin_log(const char *);
int standin_handle(void *);
int cublasCreate_v2(void *result) { return standin_handle(result); }
int cublasGetMathMode(void *handle, int *mode) { *mode = 0; return 0; }
int cublasSetMathMode(void *handle, int mode) {
    char call[64];
    snprintf(call, sizeof call, "cublasSetMathMode %d", mode);
    standin_log(call);
    return 0;
}
const char *cublasGetStatusName(int status) { return "status"; }
const char *cublasGetStatusString(int status) { return "status"; }
