/* What a stand-in for cuBLASLt must answer. */
int standin_handle(void *);
int cublasLtCreate(void *result) { return standin_handle(result); }
