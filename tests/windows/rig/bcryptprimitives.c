/* What Rust's standard library asks of bcryptprimitives.dll, which Wine before 9 lacks: random bytes, from RtlGenRandom. */
#include <stddef.h>
__declspec(dllimport) unsigned char __stdcall SystemFunction036(void *bytes, unsigned long count);
__declspec(dllexport) int __stdcall ProcessPrng(unsigned char *bytes, size_t count) {
    return SystemFunction036(bytes, (unsigned long)count);
}
