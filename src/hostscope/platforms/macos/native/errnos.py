"""Darwin's error numbers: beyond 34 they are not Linux's, so `errno` of Python says nothing. Source: sys/errno.h."""

EPERM = 1
ENOENT = 2
ESRCH = 3
EINTR = 4
EIO = 5
ENXIO = 6
E2BIG = 7
ENOEXEC = 8
EBADF = 9
ECHILD = 10
EDEADLK = 11
ENOMEM = 12
EACCES = 13
EFAULT = 14
ENOTBLK = 15
EBUSY = 16
EEXIST = 17
EXDEV = 18
ENODEV = 19
ENOTDIR = 20
EISDIR = 21
EINVAL = 22
ENFILE = 23
EMFILE = 24
ENOTTY = 25
ETXTBSY = 26
EFBIG = 27
ENOSPC = 28
ESPIPE = 29
EROFS = 30
EMLINK = 31
EPIPE = 32
EDOM = 33
ERANGE = 34
EAGAIN = 35
EINPROGRESS = 36
EALREADY = 37
ENOTSOCK = 38
EDESTADDRREQ = 39
EMSGSIZE = 40
EPROTOTYPE = 41
ENOPROTOOPT = 42
EPROTONOSUPPORT = 43
ESOCKTNOSUPPORT = 44
ENOTSUP = 45
EPFNOSUPPORT = 46
EAFNOSUPPORT = 47
EADDRINUSE = 48
EADDRNOTAVAIL = 49
ENETDOWN = 50
ENETUNREACH = 51
ENETRESET = 52
ECONNABORTED = 53
ECONNRESET = 54
ENOBUFS = 55
EISCONN = 56
ENOTCONN = 57
ESHUTDOWN = 58
ETOOMANYREFS = 59
ETIMEDOUT = 60
ECONNREFUSED = 61
ELOOP = 62
ENAMETOOLONG = 63
EHOSTDOWN = 64
EHOSTUNREACH = 65
ENOTEMPTY = 66
EPROCLIM = 67
EUSERS = 68
EDQUOT = 69
ESTALE = 70
EREMOTE = 71
EBADRPC = 72
ERPCMISMATCH = 73
EPROGUNAVAIL = 74
EPROGMISMATCH = 75
EPROCUNAVAIL = 76
ENOLCK = 77
ENOSYS = 78
EFTYPE = 79
EAUTH = 80
ENEEDAUTH = 81
EPWROFF = 82
EDEVERR = 83
EOVERFLOW = 84
EBADEXEC = 85
EBADARCH = 86
ESHLIBVERS = 87
EBADMACHO = 88
ECANCELED = 89
EIDRM = 90
ENOMSG = 91
EILSEQ = 92
ENOATTR = 93
EBADMSG = 94
EMULTIHOP = 95
ENODATA = 96
ENOLINK = 97
ENOSR = 98
ENOSTR = 99
EPROTO = 100
ETIME = 101
EOPNOTSUPP = 102
ENOPOLICY = 103
ENOTRECOVERABLE = 104
EOWNERDEAD = 105
EQFULL = 106
ENOTCAPABLE = 107

_TEXTS = {
    1: "Operation not permitted",
    2: "No such file or directory",
    3: "No such process",
    4: "Interrupted system call",
    5: "Input/output error",
    6: "Device not configured",
    7: "Argument list too long",
    8: "Exec format error",
    9: "Bad file descriptor",
    10: "No child processes",
    11: "Resource deadlock avoided",
    12: "Cannot allocate memory",
    13: "Permission denied",
    14: "Bad address",
    15: "Block device required",
    16: "Device / Resource busy",
    17: "File exists",
    18: "Cross-device link",
    19: "Operation not supported by device",
    20: "Not a directory",
    21: "Is a directory",
    22: "Invalid argument",
    23: "Too many open files in system",
    24: "Too many open files",
    25: "Inappropriate ioctl for device",
    26: "Text file busy",
    27: "File too large",
    28: "No space left on device",
    29: "Illegal seek",
    30: "Read-only file system",
    31: "Too many links",
    32: "Broken pipe",
    33: "Numerical argument out of domain",
    34: "Result too large",
    35: "Resource temporarily unavailable",
    36: "Operation now in progress",
    37: "Operation already in progress",
    38: "Socket operation on non-socket",
    39: "Destination address required",
    40: "Message too long",
    41: "Protocol wrong type for socket",
    42: "Protocol not available",
    43: "Protocol not supported",
    44: "Socket type not supported",
    45: "Operation not supported",
    46: "Protocol family not supported",
    47: "Address family not supported by protocol family",
    48: "Address already in use",
    49: "Can't assign requested address",
    50: "Network is down",
    51: "Network is unreachable",
    52: "Network dropped connection on reset",
    53: "Software caused connection abort",
    54: "Connection reset by peer",
    55: "No buffer space available",
    56: "Socket is already connected",
    57: "Socket is not connected",
    58: "Can't send after socket shutdown",
    59: "Too many references: can't splice",
    60: "Operation timed out",
    61: "Connection refused",
    62: "Too many levels of symbolic links",
    63: "File name too long",
    64: "Host is down",
    65: "No route to host",
    66: "Directory not empty",
    67: "Too many processes",
    68: "Too many users",
    69: "Disc quota exceeded",
    70: "Stale NFS file handle",
    71: "Too many levels of remote in path",
    72: "RPC struct is bad",
    73: "RPC version wrong",
    74: "RPC prog. not avail",
    75: "Program version wrong",
    76: "Bad procedure for program",
    77: "No locks available",
    78: "Function not implemented",
    79: "Inappropriate file type or format",
    80: "Authentication error",
    81: "Need authenticator",
    82: "Device power is off",
    83: "Device error, e.g. paper out",
    84: "Value too large to be stored in data type",
    85: "Bad executable",
    86: "Bad CPU type in executable",
    87: "Shared library version mismatch",
    88: "Malformed Macho file",
    89: "Operation canceled",
    90: "Identifier removed",
    91: "No message of desired type",
    92: "Illegal byte sequence",
    93: "Attribute not found",
    94: "Bad message",
    95: "Reserved",
    96: "No message available on STREAM",
    97: "Reserved",
    98: "No STREAM resources",
    99: "Not a STREAM",
    100: "Protocol error",
    101: "STREAM ioctl timeout",
    102: "Operation not supported on socket",
    103: "No such policy registered",
    104: "State not recoverable",
    105: "Previous owner died",
    106: "Interface output queue is full",
    107: "Capabilities insufficient",
}


def text(code: int) -> str:
    """What Darwin's strerror(3) says."""
    return _TEXTS.get(code, f"error {code}")


def error(code: int, what: str) -> OSError:
    """An error with Darwin's number, whichever system runs this."""
    return OSError(code, what)
