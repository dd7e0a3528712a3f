/*
 * Why a session ended, for its log line; see session.h. Apart from session.c, which tests of
 * the protocols replace by a session without an auth process.
 */
#include "auth/session.h"
#include "base/err.h"

const char *
session_stream_reason(int err)
{
    switch (err) {
    case ERR_EOF:
        return "connection closed by the client";
    case ERR_TIMEOUT:
        return "the client takes nothing (write_timeout)";
    case ERR_LIMIT:
        return "endless line";
    case ERR_TLS:
        return "TLS failure";
    default:
        return "connection lost";
    }
}
