/*
 * Texts for result codes, and result codes for errno values.
 */
#include <errno.h>

#include "base/err.h"

const char *
err_text(int err)
{
    switch (err) {
    case ERR_OK:
        return "success";
    case ERR_EOF:
        return "end of data";
    case ERR_TIMEOUT:
        return "timed out";
    case ERR_IO:
        return "input/output error";
    case ERR_TLS:
        return "TLS error";
    case ERR_LIMIT:
        return "limit passed";
    case ERR_SYNTAX:
        return "syntax error";
    case ERR_RANGE:
        return "out of range";
    case ERR_NOENT:
        return "does not exist";
    case ERR_EXISTS:
        return "exists already";
    case ERR_PERM:
        return "not permitted";
    case ERR_NOSPACE:
        return "file system full";
    case ERR_QUOTA:
        return "over quota";
    case ERR_BUSY:
        return "locked too long";
    case ERR_TEMP:
        return "temporary failure";
    case ERR_CORRUPT:
        return "data is damaged";
    case ERR_GONE:
        return "message expunged";
    case ERR_CANNOT:
        return "not possible";
    case ERR_READONLY:
        return "read-only";
    case ERR_AUTH:
        return "authentication failed";
    case ERR_UNSUPPORTED:
        return "not supported";
    case ERR_CONFIG:
        return "configuration error";
    case ERR_INUSE:
        return "in use";
    case ERR_SHORT:
        return "short of descriptors or memory";
    }
    return "unknown error";
}

int
err_from_errno(int errnum)
{
    switch (errnum) {
    case 0:
        return ERR_OK;
    case ENOENT:
    case ENOTDIR:
        return ERR_NOENT;
    case EEXIST:
    case ENOTEMPTY:
        return ERR_EXISTS;
    case EACCES:
    case EPERM:
    case EROFS:
        return ERR_PERM;
    case ENOSPC:
        return ERR_NOSPACE;
    case EDQUOT:
        return ERR_QUOTA;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        return ERR_SHORT;
    case ETIMEDOUT:
        return ERR_TIMEOUT;
    case ENAMETOOLONG:
        return ERR_CANNOT;
    default:
        return ERR_IO;
    }
}
