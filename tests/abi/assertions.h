/* What the generated assertions are made of. */
#include <stddef.h>
#include <stdint.h>
#include <type_traits>
#include <tuple>
namespace hs {
template<class T> struct meant { using type = T; };
#ifdef _WIN32
template<> struct meant<LARGE_INTEGER> { using type = LONGLONG; };
template<> struct meant<ULARGE_INTEGER> { using type = ULONGLONG; };
#endif
template<class T> using plain =
  typename meant<typename std::remove_all_extents<typename std::remove_reference<T>::type>::type>::type;
template<class T> constexpr bool whole() {
  return std::is_integral<plain<T>>::value && !std::is_same<plain<T>, char>::value; }
template<class T> constexpr bool sign(bool wanted) { return !whole<T>() || std::is_signed<plain<T>>::value == wanted; }
template<class T> constexpr unsigned size() { if constexpr (std::is_void<T>::value) return 0; else return sizeof(T); }
template<class T> constexpr char kind() {
  return std::is_enum<T>::value ? 'E' : std::is_void<T>::value ? 'V' : std::is_pointer<T>::value ? 'P'
    : std::is_floating_point<T>::value ? 'F' : std::is_class<T>::value || std::is_union<T>::value ? 'A'
    : std::is_signed<T>::value ? 'S' : 'U'; }
constexpr bool scalar(char k) { return k == 'S' || k == 'U' || k == 'N'; }
template<class T> constexpr bool like(char k, unsigned n) {
  const char c = kind<typename std::remove_cv<T>::type>();
  if (size<T>() != n) return false;
  if (c == k) return true;
  if (c == 'E' || (k == 'N' && scalar(c))) return scalar(k);
#ifdef _WIN32 /* structures of up to eight bytes are passed as integers are */
  return c == 'A' && scalar(k);
#else
  return false;
#endif
}
template<class F> struct fn;
template<class R, class... A> struct fn<R(A...)> { enum { count = sizeof...(A) }; using all = std::tuple<R*, A*...>; };
template<class R, class... A> struct fn<R(A..., ...)> : fn<R(A...)> {};
template<class R, class... A> struct fn<R(A...) noexcept> : fn<R(A...)> {};
template<class R, class... A> struct fn<R(A..., ...) noexcept> : fn<R(A...)> {};
template<class F, unsigned I>
using arg = typename std::remove_pointer<typename std::tuple_element<I, typename fn<F>::all>::type>::type;
}
#define HS_FOLD(x) (__builtin_constant_p(x) ? (x) : (x))
#define HS_OFF(T, f, n) static_assert(HS_FOLD(offsetof(T, f)) == n, "offset");
#define HS_SIZ(T, f, n) static_assert(sizeof(((T*)0)->f) == n, "size");
#define HS_ELT(T, f, n) static_assert(sizeof(((T*)0)->f[0]) == n, "element size");
#define HS_SGN(T, f, s) static_assert(hs::sign<decltype(((T*)0)->f)>(s), "signedness");
#define HS_FLT(T, f) static_assert(std::is_floating_point<hs::plain<decltype(((T*)0)->f)>>::value, "floating point");
#define HS_TOT(T, n) static_assert(sizeof(T) == n, "sizeof");
#define HS_TYP(T, k, n) static_assert(hs::like<T>(k, n), "type");
#define HS_WORD(x, n) (sizeof(x) == 4 ? (unsigned long long)(unsigned)(unsigned long long)(n) : (unsigned long long)(n))
#define HS_CON(x, n) static_assert(HS_FOLD(HS_WORD(x, x)) == HS_WORD(x, n), "value");
#define HS_NUM(f, n) static_assert(hs::fn<decltype(f)>::count == n, "number of arguments");
#define HS_ARG(f, i, k, n) static_assert(hs::like<hs::arg<decltype(f), i>>(k, n), "result or argument " #i);
