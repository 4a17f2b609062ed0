/* The host's errno, where its ctypes looks for it. Compiled for the host. */
#include <errno.h>
int *fake_host_errno(void) { return &errno; }
