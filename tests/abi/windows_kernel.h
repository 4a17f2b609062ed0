/* What only drivers see, beside what programs see: in a namespace, where its repetitions do no harm. Some of its functions do
 * not compile there; its structures and enumerations do. Names in C: ddk::NAME. */
#undef _NTDDK_
namespace ddk {
#include <ddk/ntifs.h>
}
